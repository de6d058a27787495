from pathlib import Path

from utils.processor import processor


def test_processor_ignores_values_that_vary(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2\ncpu MHz\t\t: 1.0\n")
    assert str(processor(cpuinfo)).endswith("\nflags : fpu avx2")
    assert processor(tmp_path / "none") is None
