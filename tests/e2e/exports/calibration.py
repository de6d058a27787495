"""Random weights under which pictures matter.

As they are initialised, most networks answer every picture alike: a transformer's blocks barely change their input, and
the statistics of batch normalisation are those of no data. Here each layer gets weights that keep the variance of its
input, normalisation the statistics of photos, and the last layers an output that varies between photos as that of a
trained network does.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from re import search
from typing import Any

_SCALES = r"layer_?scale|lambda_?\d|\bgamma"  # of residual branches; 1e-6 to 0.1 at the start of a training
_QUERIES = r"quer(y|ies)_\w*(embed|features)|detection_tokens"
# Of a decoder, whose queries are told apart by what they attend to: sharp attention differs between them.
_ATTENTION, _SHARPNESS = r"decoder.*\.(q|k)_proj\.", 2.0
# Of a kernel's deviations from its mean. Trained filters see shapes more than the noise of single pixels, by which
# two roundings of one resize differ.
_ROUGH = 0.3
# Of normalised activations, so that SiLU and its kin are nearly linear on each side of 0: where they are quadratic, the
# contrast of one photo grows from layer to layer and that of another fades.
_NORM_SCALE = 3.0
_POSITIONS = r"position_embed|pos_embed|cls_token|relative_position_bias_table"


def calibrate(model: Any, forward: Callable[[], object], heads: Mapping[str, tuple[float, float]]) -> None:
    """Sets the weights of `model`, which `forward` then runs on a batch of photos.

    `heads`: mean and standard deviation of each output channel over the photos, by the name of the last layer
    (nn.Linear or nn.Conv2d); the names are regular expressions. Raises ValueError if one matches no layer.
    """
    import torch

    torch.manual_seed(1)
    model.eval()
    with torch.no_grad(), ExitStack() as hooks:
        for name, parameter in model.named_parameters():
            _draw(name, parameter)
        for module in model.modules():
            if hasattr(module, "running_var"):
                if type(module).__name__ != "BatchNorm1d":  # of queries and keys, which it would sharpen
                    module.weight.fill_(_NORM_SCALE)
                hooks.callback(module.register_forward_pre_hook(_measure_norm).remove)
        for pattern, (mean, std) in heads.items():
            layers = [
                layer for name, layer in model.named_modules() if search(pattern, name) and hasattr(layer, "weight")
            ]
            if not layers:
                raise ValueError(f"no layer is named {pattern}")
            for layer in layers:
                hooks.callback(layer.register_forward_hook(_Head(mean, std)).remove)
        forward()


def _draw(name: str, parameter: Any) -> None:
    """Draws weights; vectors other than scales stay as they are."""
    import torch
    from torch import nn

    if not parameter.requires_grad:  # a constant
        return
    if search(_SCALES, name):
        parameter.fill_(0.5)
    elif search(_POSITIONS, name):
        nn.init.normal_(parameter, std=0.3)
    elif search(_QUERIES, name):
        nn.init.normal_(parameter)
    elif parameter.ndim >= 2:
        nn.init.normal_(parameter, std=_ROUGH if parameter.ndim == 4 else 1)
        if parameter.ndim == 4:
            parameter.add_(torch.randn_like(parameter[:, :, :1, :1]))
        parameter.mul_(parameter[0].numel() ** -0.5)
        if search(_ATTENTION, name):
            parameter.mul_(_SHARPNESS)


def _measure_norm(module: Any, inputs: tuple[Any, ...]) -> None:
    """Gives batch normalisation, frozen or not, the statistics of its present input."""
    values = inputs[0].transpose(0, 1).flatten(1)
    module.running_mean.copy_(values.mean(1))
    module.running_var.copy_(values.var(1).clamp_min(1e-6))


class _Head:
    """A forward hook that scales the layer once, and its output of that run."""

    def __init__(self, mean: float, std: float) -> None:
        self._mean, self._std, self._done = mean, std, False

    def __call__(self, layer: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        if self._done:
            return output
        self._done = True
        if layer.weight.ndim == 4 and layer.weight.shape[2:] == (1, 1):
            _forget_pictures(layer, inputs[0])
            output = layer.forward(*inputs)
        axis = 1 if layer.weight.ndim == 4 else output.ndim - 1
        values = output.transpose(0, axis).flatten(1)
        scale = self._std / values.std(1).clamp_min(1e-6)
        if layer.bias is None:
            scale = scale.mean().expand_as(scale)
        _scale_rows(layer, scale)
        if layer.bias is not None:
            layer.bias.copy_((layer.bias - values.mean(1)) * scale + self._mean)
        return layer.forward(*inputs)


def _forget_pictures(layer: Any, features: Any) -> None:
    """Makes the output's mean that of all photos on each of them, so that what is inside a photo matters.

    Removes from the weights (1 x 1) the directions in which the photos' mean features (N, C, H, W) differ.
    """
    import torch

    means = features.flatten(2).mean(2)
    _, lengths, directions = torch.linalg.svd(means - means.mean(0), full_matrices=False)
    kept = directions[lengths > 1e-4 * lengths[0]]
    weights = layer.weight.view(len(layer.weight), -1)
    weights.sub_(weights @ kept.T @ kept)


def _scale_rows(layer: Any, scale: Any) -> None:
    transposed = type(layer).__name__ == "ConvTranspose2d"
    axis = 1 if transposed else 0
    shape = [1] * layer.weight.ndim
    shape[axis] = -1
    layer.weight.mul_(scale.reshape(shape))
