"""Draws docs/soak.svg from the samples of the last soak: `python -m tests.soak.plot`. Needs matplotlib."""

import json

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

from tests.paths import ROOT

_SAMPLES, _PLOT = ROOT / ".proof" / "soak.json", ROOT / "docs" / "soak.svg"
_PANELS = (
    ("memory of all processes, MiB", (("rss_mib", "RSS"), ("pss_mib", "PSS"))),
    ("threads and descriptors", (("threads", "threads"), ("descriptors", "descriptors"))),
    ("latency, ms", (("p50_ms", "p50"), ("p99_ms", "p99"))),
)


def main() -> None:
    """Draws three panels over time."""
    samples = json.loads(_SAMPLES.read_text())
    plt.rcParams |= {"svg.hashsalt": "fovea", "font.size": 9}
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    minutes = [sample["at"] / 60 for sample in samples]
    for axes, (title, lines) in zip(panels, _PANELS, strict=True):
        for name, label in lines:
            axes.plot(minutes, [sample[name] for sample in samples], label=label, linewidth=1)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("minutes")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(_PLOT, metadata={"Date": None})


if __name__ == "__main__":
    main()
