"""The command: finds the pictures, runs the model on them, prints and saves the results."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Event

from rich.progress import Progress

from api.environment import SettingsError, load_settings
from api.settings import ApiSettings
from engine.drawing import Drawer
from engine.explain.target import ExplainError, TargetQuery, check_explainable
from engine.pipeline import describe_image
from engine.tasks.task import MAX_TOP_K, PredictOptions
from loaders.model_errors import ModelError
from tools.predict import formats, show
from tools.predict.arguments import parser, problem_of
from tools.predict.classes import UnknownClassError, class_ids, only
from tools.predict.journal import Journal, JournalError, Record
from tools.predict.predictor import FAILURES, Answered, LocalPredictor, Predictor, image_loader_of, reason_of
from tools.predict.saving import Saver, is_drawable
from tools.predict.service import ServicePredictor
from tools.predict.sources import STDIN, Item, Source, SourceFinder
from tools.predict.video import frame_count
from tools.predict.work import INTERRUPTED, in_order, stopped_by_signals
from utils.blas import one_blas_thread
from utils.files import replacing
from utils.memory import keep_freed_memory
from utils.stdin_loader import ask_for_path

_OK, _SOME_FAILED = 0, 1
POLL_S = 1.0  # of watched folders


class UsageError(Exception):
    """The arguments do not fit the model."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status. Raises SystemExit(2) for wrong arguments."""
    arguments_parser = parser()
    options = arguments_parser.parse_args(arguments)
    paths = options.paths or _default_paths()
    if problem := problem_of(options, paths) if paths else "no picture given":
        arguments_parser.error(problem)
    one_blas_thread()
    keep_freed_memory()
    finder = SourceFinder(paths, grows=options.watch)
    sources, missing = finder.find()
    try:
        run = Run(load_settings(), options, sources)
    except (SettingsError, ModelError, JournalError, UnknownClassError, ExplainError, UsageError, OSError) as error:
        arguments_parser.error(str(error))
    for path, reason in missing.items():
        show.print_error(path, reason)
    return run.until_done(sources, finder) or (_SOME_FAILED if missing else _OK)


def _default_paths() -> list[str]:
    """Asks on a terminal; otherwise standard input is the picture."""
    if not sys.stdin.isatty():
        return [STDIN]
    path = ask_for_path()
    return [path] if path else []


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one picture: an answer, or an error."""

    item: Item
    answered: Answered | None = None
    saved: dict[str, int] | None = None
    error: str = ""


class Run:
    """One run of the command with its options."""

    def __init__(self, settings: ApiSettings, options: argparse.Namespace, sources: Sequence[Source]) -> None:
        """Raises ModelError, JournalError, UnknownClassError, ExplainError, UsageError, OSError."""
        self._options, self._save = options, options.save
        self._predictor = _predictor(settings, options, sources)
        self._classes = class_ids(options.classes, self._predictor.labels) if options.classes else None
        self._predict_options = PredictOptions(MAX_TOP_K if self._classes else options.top_k, options.threshold)
        self._check_format()
        font = options.font or settings.font
        if options.explain:
            check_explainable(self._predictor.model.task, TargetQuery(), with_reference=False)
        self._with_picture = bool(self._save and is_drawable(self._predictor.model.task))
        self._is_collected = bool(self._save or options.format not in (None, "ndjson"))
        self._journal = Journal(self._save, self._facts(), resume=options.resume) if self._is_collected else None
        explain = self._predictor.explain if options.explain else None
        self._saver = Saver(self._save, Drawer(font), crops=options.crops, explain=explain) if self._save else None
        self._stop = Event()
        self._failed = self._done = 0
        self._saved = Counter[str]()

    def until_done(self, sources: list[Source], finder: SourceFinder) -> int:
        """Returns the exit status."""
        watch, count = self._options.watch, len(sources)
        is_long = watch or count > 1 or any(source.video for source in sources)
        bar = show.progress(self._total(sources), shown=is_long and self._bar_is_free())
        with stopped_by_signals(self._stop), bar:
            self._take_all(sources, bar)
            while watch and not self._stop.wait(POLL_S):
                further, _ = finder.find()
                sources += further
                self._take_all(further, bar)
                if further:
                    self._write_file(sources)
            interrupted = self._stop.is_set() and not watch
            if not interrupted:
                self._write_file(sources)
        for part in (self._predictor, self._journal, self._saver):
            if part:
                part.close()
        if self._saved:
            show.print_saved(self._saved, self._save)
        if interrupted:
            rest = " --resume continues." if self._save else ""
            show.errors.print(f"Interrupted: {self._done} of {self._total(sources) or count} done.{rest}")
            return INTERRUPTED
        return _SOME_FAILED if self._failed else _OK

    def _take_all(self, sources: Sequence[Source], bar: Progress) -> None:
        take = partial(self._take, bar=bar)
        in_order(self._unfinished(sources, bar), self._process, self._predictor.concurrency, self._stop, take)

    def _unfinished(self, sources: Sequence[Source], bar: Progress) -> Iterator[Item]:
        for source in sources:
            try:
                for item in source.items(self._options.every):
                    if self._journal and self._journal.has(item):
                        self._count(bar)
                    else:
                        yield item
            except OSError as error:
                self._fail(source.item, str(error))

    def _process(self, item: Item) -> _Outcome:
        """On a thread of its own."""
        try:
            data = item.read()
            answered = self._predictor(data, self._predict_options, with_picture=self._with_picture)
            if self._classes is not None:
                chosen = only(answered.predictions, self._classes)[: self._options.top_k]
                answered = replace(answered, predictions=chosen)
            return _Outcome(item, answered, self._saver.save(item, data, answered) if self._saver else {})
        except FAILURES as error:
            return _Outcome(item, error=reason_of(error))

    def _take(self, outcome: _Outcome, bar: Progress) -> None:
        item, answered, saved = outcome.item, outcome.answered, outcome.saved or {}
        if answered is None:
            self._fail(item, outcome.error)
            bar.advance(bar.task_ids[0])
            return
        result = _result(item, answered)
        if self._journal:
            self._journal.add(item, {"target": str(item.target), "saved": saved, "result": result})
        self._saved.update(path.partition("/")[0] for path in saved)
        if saved and self._options.json:
            result["saved"] = list(saved)
        if self._options.json:
            show.print_json(result | {"timings_ms": answered.timings_ms})
        elif self._options.format == "ndjson" and not self._save:
            show.print_json(result)
        elif self._options.format is None:
            show.print_table(item.name, answered, saved, self._save)
        self._count(bar)

    def _count(self, bar: Progress) -> None:
        self._done += 1
        bar.advance(bar.task_ids[0])

    def _fail(self, item: Item, reason: str) -> None:
        self._failed += 1
        show.print_error(item.name if item.time_s is None else f"{item.name} at {item.time_s} s", reason)

    def _write_file(self, sources: Sequence[Source]) -> None:
        """The file of the format, from the journal."""
        name = self._options.format
        if not (name and self._journal):
            return
        write = partial(formats.write, name, partial(self._journal.records, sources), self._predictor.labels)
        if self._save is None:
            sys.stdout.flush()
            write(sys.stdout.buffer, None)
            sys.stdout.flush()
            return
        with replacing(self._save / formats.FILES[name]) as file:
            write(file, self._save)
        self._saved[formats.FILES[name]] = 1

    def _total(self, sources: Sequence[Source]) -> int | None:
        """Pictures and frames; None while further ones may come."""
        if self._options.watch:
            return None
        return sum(frame_count(source.video, self._options.every) if source.video else 1 for source in sources)

    def _bar_is_free(self) -> bool:
        """Whether neither a pipe gets the bar, nor a terminal shows the results between."""
        prints = self._options.json or self._options.format is None or not self._save
        return show.errors.is_terminal and not (prints and sys.stdout.isatty())

    def _check_format(self) -> None:
        name, task = self._options.format, self._predictor.model.task
        if name and task not in formats.tasks_of(name):
            names = ", ".join(other for other in formats.FORMATS if task in formats.tasks_of(other))
            raise UsageError(f"--format {name} cannot hold answers of the task {task}; these can: {names}")

    def _facts(self) -> Record:
        """What decides the results, for a later --resume."""
        model, options = self._predictor.model, self._options
        return {
            "model": model.name, "version": model.version, "threshold": options.threshold, "top_k": options.top_k,
            "classes": options.classes, "crops": options.crops, "explain": options.explain,
            "every": options.every,
        }  # fmt: skip


def _predictor(settings: ApiSettings, options: argparse.Namespace, sources: Sequence[Source]) -> Predictor:
    image_loader = image_loader_of(settings)
    if options.url:
        return ServicePredictor(options.url, options.model, image_loader)
    several = options.save or options.watch or len(sources) > 1 or any(source.video for source in sources)
    return LocalPredictor(settings, options.model, image_loader, alone=not several)


def _result(item: Item, answered: Answered) -> Record:
    """As in the service's JSON, with the time of a frame."""
    image = describe_image(item.name, answered.image)
    if item.time_s is not None:
        image |= {"time_s": item.time_s}
    return {"model": answered.model, "image": image, "predictions": answered.predictions}
