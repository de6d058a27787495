import numpy as np
import onnxruntime as ort

from benchmarks.models import no_cost_graph


def test_the_no_cost_model_tells_the_picture_s_main_colour() -> None:
    session = ort.InferenceSession(no_cost_graph().SerializeToString())
    image = np.zeros((1, 3, 224, 224), np.float32)
    image[0, 2] = 1
    [scores] = session.run(None, {"image": image})
    assert scores.shape == (1, 1000)
    assert scores.argmax() == 2
