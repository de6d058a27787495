"""Runs a model on the pictures of a folder with Ray Data, on the cores of one machine or of a cluster.

The answers are Parquet files with a row for each picture: see `SCHEMA`.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from api.environment import SettingsError, load_settings
from api.settings import ApiSettings
from engine.tasks.predictions import Classification, Detection, InstanceSegment, Segment
from engine.tasks.task import PredictOptions
from loaders.model_errors import ModelError
from tools.predict import show
from tools.predict.arguments import add_model_arguments
from tools.predict.predictor import FAILURES, Answered, LocalPredictor, image_loader_of, reason_of, version_of
from tools.predict.sources import SourceFinder
from tools.predict.work import INTERRUPTED
from utils.blas import one_blas_thread
from utils.files import replacing
from utils.memory import keep_freed_memory

# `error` is null for a picture that has an answer; otherwise only `path` and `error` have values. `boxes` are xmin,
# ymin, xmax, ymax in pixels of the picture. `predictions` is the JSON of `run_locally.py --json`, for every task.
SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "labels": pa.list_(pa.string()),
        "scores": pa.list_(pa.float64()),
        "boxes": pa.list_(pa.list_(pa.float64(), 4)),
        "predictions": pa.string(),
        "error": pa.string(),
    }
)

_EXAMPLES = """\
examples, in the project's folder:
  python -m deploy.ray.batch photos/ answers/                      on all cores of this machine
  python -m deploy.ray.batch photos/ answers/                      again: continues after an interruption
  RAY_ADDRESS=10.0.0.1:6379 python -m deploy.ray.batch /nfs/photos answers/ --cores 4
                                                                   on a cluster, whose nodes see /nfs/photos

Exit status: 0; 1 if a picture has no answer (its row has the error); 2 for wrong arguments, an invalid setting or an
unknown model; 130 after Ctrl-C.
"""
_RUN = b"fovea"  # key of the metadata of each file: what decides the answers
_OK, _SOME_FAILED = 0, 1


class Actor:
    """The pipeline on `cores` cores, in a process of Ray."""

    def __init__(self, settings: ApiSettings, model: str, options: PredictOptions, cores: int) -> None:
        """Raises ModelError, OSError."""
        os.environ["PYTHON_CPU_COUNT"] = str(cores)
        one_blas_thread()
        keep_freed_memory()
        self._options = options
        self._predictor = LocalPredictor(settings, model, image_loader_of(settings), alone=False)
        self._threads = ThreadPoolExecutor(self._predictor.concurrency, "picture")

    def __call__(self, block: pa.Table) -> pa.Table:
        return pa.Table.from_pylist(list(self._threads.map(self._row, block["path"].to_pylist())), SCHEMA)

    def _row(self, path: str) -> dict[str, Any]:
        try:
            answered = self._predictor(Path(path).read_bytes(), self._options, with_picture=False)
        except FAILURES as error:
            return {"path": path, "error": reason_of(error)}
        return {"path": path, **_columns(answered)}


def _columns(answered: Answered) -> dict[str, Any]:
    found = [one for one in answered.predictions if isinstance(one, Classification | Detection | Segment)]
    boxes = [one.box for one in found if isinstance(one, Detection | InstanceSegment)]
    return {
        "width": answered.image.width,
        "height": answered.image.height,
        "labels": [one.label for one in found],
        "scores": [one.score for one in found],
        "boxes": [[box.xmin, box.ymin, box.xmax, box.ymax] for box in boxes],
        "predictions": orjson.dumps(answered.predictions).decode(),
    }


class Answers:
    """The Parquet files of a run, one a block. A file is complete when it has its name."""

    def __init__(self, folder: Path, run: dict[str, Any]) -> None:
        """Raises ValueError if the folder has answers of another model or other options, and OSError."""
        self._folder, self._run = folder, orjson.dumps(run)
        folder.mkdir(parents=True, exist_ok=True)
        self._files = sorted(folder.glob("part-*.parquet"))
        for file in self._files:
            metadata = pq.read_schema(file).metadata or {}
            if metadata.get(_RUN) != self._run:
                theirs = metadata.get(_RUN, b"another program").decode()
                raise ValueError(
                    f"{folder} has answers of {theirs}, not of {self._run.decode()}: choose another folder"
                )

    def paths(self) -> set[str]:
        """The pictures that have a row."""
        return {path for file in self._files for path in pq.read_table(file, columns=["path"])["path"].to_pylist()}

    def add(self, rows: pa.Table) -> None:
        file = self._folder / f"part-{len(self._files):06}.parquet"
        with replacing(file) as written:
            pq.write_table(rows.replace_schema_metadata({_RUN: self._run}), written)
        self._files.append(file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status. Raises SystemExit(2) for wrong arguments."""
    parser = _parser()
    options = parser.parse_args(arguments)
    sources, missing = SourceFinder([os.path.abspath(options.folder)]).find()  # noqa: PTH100 - keeps links
    if missing:
        parser.error(*missing.values())
    try:
        settings = load_settings()
        version = version_of(settings, options.model)
        chosen = PredictOptions(options.top_k, options.threshold)
        run = {"model": version.name, "version": version.number, "top_k": options.top_k, "threshold": options.threshold}
        answers = Answers(options.answers, run)
    except (SettingsError, ModelError, ValueError, OSError) as error:
        parser.error(str(error))
    done = answers.paths()
    pictures = [source.item.name for source in sources if source.video is None]
    rest = [path for path in pictures if path not in done]
    failed = 0
    bar = show.progress(len(pictures), shown=show.errors.is_terminal)
    try:
        with bar:
            bar.advance(bar.task_ids[0], len(pictures) - len(rest))
            for rows in _blocks(rest, (settings, version.name, chosen, options.cores), options):
                answers.add(rows)
                failed += len(rows) - rows["error"].null_count
                bar.advance(bar.task_ids[0], len(rows))
    except KeyboardInterrupt:
        show.errors.print("Interrupted. The same command continues.")
        return INTERRUPTED
    return _SOME_FAILED if failed else _OK


def _blocks(paths: Sequence[str], actor: tuple[Any, ...], options: argparse.Namespace) -> Iterator[pa.Table]:
    """The rows of each block, as they are finished."""
    if not paths:
        return
    ray.init(include_dashboard=False, logging_level="warning")
    ray.data.DataContext.get_current().enable_progress_bars = False
    count = -(-len(paths) // options.block)
    actors = options.actors or max(1, int(ray.cluster_resources().get("CPU", 1) // options.cores))
    blocks = ray.data.from_items([{"path": path} for path in paths], override_num_blocks=count)
    done = blocks.map_batches(
        Actor,
        fn_constructor_args=actor,
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(actors, count)),
        num_cpus=options.cores,
    )
    yield from done.iter_batches(batch_size=None, batch_format="pyarrow")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.ray.batch",
        description="Runs a model on the pictures of a folder with Ray Data, and writes Parquet files.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="PICTURES", help="a folder of pictures, with its sub-folders")
    parser.add_argument("answers", metavar="ANSWERS", type=Path, help="the folder of the Parquet files")
    add_model_arguments(parser)
    parser.add_argument("--block", type=_count, default=64, metavar="N", help="pictures in each file; default: 64")
    parser.add_argument("--cores", type=_count, default=1, metavar="N", help="cores of each process; default: 1")
    parser.add_argument("--actors", type=_count, metavar="N", help="processes; default: as many as there are cores for")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
