"""The command line of a training without the service."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from heimdall_core.domain.errors import InvalidRequest
from heimdall_core.domain.spec import BACKBONES

PROGRAM = "python -m heimdall_core.train"
DEFAULT_VALIDATION_SPLIT = 0.2
TEST_SPLIT = 0.2
"""Of the sessions of a folder; the errors that a run prints are measured on them."""

_USAGE = "%(prog)s (--data-dir DIR | --manifest FILE --store-root ROOT) [options]"
_DESCRIPTION = "Trains, evaluates and exports without any service, into a folder."
_EPILOG = f"""\
Every flag may be spelt with underscores too (--batch_size). A flag overrides the file of --config, and the
file overrides the defaults. A folder of recordings is split by spatial block, or by the groups that the
input names: {TEST_SPLIT:.0%}% of the sessions test, --validation-split of them validate.

Exit status: 0 done, 1 refused or failed, 2 wrong usage, 130 stopped by Ctrl-C: the newest checkpoint is kept.

  %(prog)s --data-dir recordings --epochs 20 --backbone micro
  %(prog)s --data-dir recordings --checkpoint output/checkpoints/step-00000120.ckpt --resume-training
  %(prog)s --data-dir recordings --checkpoint output/checkpoints/best.ckpt --export-only
  %(prog)s --data-dir more --init-from output/checkpoints/best.ckpt --output-dir second
"""
_TRAINS = (
    "epochs",
    "batch_size",
    "learning_rate",
    "num_workers",
    "pretrained",
    "freeze_backbone",
    "init_from",
    "seed",
)
"""What an export changes nothing with."""


class UsageError(InvalidRequest):
    """The command line contradicts itself or the machine."""

    code = "usage"


def parse_arguments(arguments: Sequence[str], *, program: str = PROGRAM) -> argparse.Namespace:
    """Reads the command line; what is not given is None. Ends the process where it is wrong (status 2)."""
    parser = build_parser(program)
    options = parser.parse_args([_with_dashes(argument) for argument in arguments])
    for check in (_check_data, _check_checkpoint, _check_export):
        check(options, parser.error)
    return options


def build_parser(program: str = PROGRAM) -> argparse.ArgumentParser:
    """All flags, in groups."""
    parser = argparse.ArgumentParser(
        prog=program,
        usage=_USAGE,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for add in (_add_data, _add_training, _add_network, _add_machine, _add_checkpoints, _add_output):
        add(parser)
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("recordings")
    group.add_argument(
        "--data-dir", type=Path, metavar="DIR", help="folder of recordings, as an import reads"
    )
    group.add_argument("--manifest", type=Path, metavar="FILE", help="frozen dataset manifest, JSON")
    group.add_argument(
        "--store-root", metavar="ROOT", help="where a manifest's recordings lie: folder, or S3 endpoint URL"
    )
    group.add_argument(
        "--validation-split",
        type=_fraction,
        metavar="FRACTION",
        help=f"share of the sessions that validate (default {DEFAULT_VALIDATION_SPLIT}; with --data-dir)",
    )


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument(
        "--config", type=Path, metavar="FILE", help="JSON of a train job or some members of it"
    )
    group.add_argument("--epochs", type=int)
    group.add_argument("--batch-size", type=int)
    group.add_argument("--learning-rate", type=float)
    group.add_argument("--seed", type=int)


def _add_network(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("network")
    group.add_argument("--backbone", choices=BACKBONES)
    group.add_argument(
        "--pretrained", action=argparse.BooleanOptionalAction, help="begin with published ImageNet weights"
    )
    group.add_argument(
        "--freeze-backbone",
        action=argparse.BooleanOptionalAction,
        help="keep the backbone as it starts, but for its first layer",
    )
    group.add_argument(
        "--init-from",
        type=Path,
        metavar="FILE",
        help="begin with the weights of a best.ckpt; its receivers may be others",
    )


def _add_machine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machine")
    group.add_argument("--accelerator", choices=("auto", "cpu", "gpu"))
    group.add_argument("--devices", type=int, help="GPUs, or processes on a CPU, that train together")
    group.add_argument("--num-workers", type=int, help="processes that load batches")


def _add_checkpoints(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("checkpoints")
    group.add_argument(
        "--checkpoint-dir", type=Path, metavar="DIR", help="where they go (default OUTPUT_DIR/checkpoints)"
    )
    group.add_argument("--checkpoint", type=Path, metavar="FILE", help="the one to begin with")
    group.add_argument("--resume-training", action="store_true", help="train on from --checkpoint")
    group.add_argument("--export-only", action="store_true", help="evaluate and export --checkpoint")


def _add_output(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results")
    group.add_argument(
        "--output-dir", type=Path, default=Path("output"), metavar="DIR", help="default: output"
    )
    names = group.add_mutually_exclusive_group()
    names.add_argument("--run-name", metavar="NAME", help="default: the dataset's name")
    names.add_argument("--run-name-prefix", metavar="PREFIX", help="the run is PREFIX-YYYYmmdd-HHMMSS")
    group.add_argument(
        "--experiment-name",
        metavar="NAME",
        help="MLflow experiment, at HEIMDALL_TRACKING__URI or MLFLOW_TRACKING_URI",
    )
    group.add_argument("--json", dest="as_json", action="store_true", help="result as JSON on stdout")


def _with_dashes(argument: str) -> str:
    """``--batch_size=8`` as ``--batch-size=8``."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value


def _fraction(text: str) -> float:
    value = float(text)
    if not 0.0 < value < 1.0 - TEST_SPLIT:
        raise argparse.ArgumentTypeError(f"{text} must lie between 0 and {1.0 - TEST_SPLIT:g}")
    return value


def _check_data(options: argparse.Namespace, refuse: Callable[[str], object]) -> None:
    if (options.data_dir is None) == (options.manifest is None):
        refuse("give either --data-dir DIR or --manifest FILE with --store-root ROOT")
    if (options.manifest is None) != (options.store_root is None):
        refuse("--manifest and --store-root belong together: the one names what the other holds")
    if options.manifest is not None and options.validation_split is not None:
        refuse("--validation-split: a manifest's splits are frozen; leave it out, or use --data-dir")


def _check_checkpoint(options: argparse.Namespace, refuse: Callable[[str], object]) -> None:
    if options.resume_training and options.export_only:
        refuse("--resume-training trains on, --export-only does not train: give one of them")
    chosen = options.resume_training or options.export_only
    if options.checkpoint is None and chosen:
        flag = "--resume-training" if options.resume_training else "--export-only"
        refuse(f"{flag} needs --checkpoint FILE")
    if options.checkpoint is not None and not chosen:
        refuse("--checkpoint: say what to do with it, --resume-training or --export-only")


def _check_export(options: argparse.Namespace, refuse: Callable[[str], object]) -> None:
    given = [f"--{n.replace('_', '-')}" for n in _TRAINS if getattr(options, n) is not None]
    if options.export_only and given:
        refuse(f"--export-only does not train: leave out {', '.join(given)}")
    for flag in ("pretrained", "init_from"):
        if options.resume_training and getattr(options, flag):
            refuse(f"--{flag.replace('_', '-')}: the weights come from --checkpoint; leave it out")
    if options.init_from is not None and options.pretrained:
        refuse("--pretrained: the weights come from --init-from; leave one of them out")
