"""`unlearn bench`: figures for docs/benchmarks.md, made by running the service, never typed."""

import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console

from api.client import Client
from api.commands.connection import connect
from api.commands.demo import register, serve
from api.commands.demo_model import Story, measured, prepare
from api.commands.demo_table import ATTACKS, figure
from api.commands.interruptions import interruptions
from api.commands.page import put
from api.commands.place import Place
from api.commands.start_up import start_up
from api.commands.up import DEFAULT_DATA, Data
from api.commands.watching import watch
from core.synthetic import general, write_jsonl

app = typer.Typer(help="measure, side by side", no_args_is_help=True)
console = Console(highlight=False)
GENERAL_RECORDS = 400

VARIANTS: dict[str, tuple[str, str]] = {
    "gradient_ascent": ("gradient_ascent", "none"),
    "random_label": ("random_label", "none"),
    "adversarial_label": ("adversarial_label", "none"),
    "ascent_descent, in-distribution": ("ascent_descent", "in_distribution"),
    "ascent_descent, general": ("ascent_descent", "general"),
    "ascent_kl, in-distribution": ("ascent_kl", "in_distribution"),
    "ascent_kl, general": ("ascent_kl", "general"),
    "calibrated": ("calibrated", "in_distribution"),
}
"""Row name → method and the kind of retain text that it is given."""


@app.callback()
def benches() -> None:
    """Each bench prints its table and, with --out, puts it into a Markdown file."""


@app.command("methods")
def methods(
    data: Data = DEFAULT_DATA,
    out: Annotated[Path | None, typer.Option("--out", help="the Markdown file whose table is replaced")] = None,
    forget_records: int = 200,
    retain_records: int = 400,
    unseen_records: int = 400,
    seed: int = 0,
    port: int = 8000,
) -> None:
    """Every method by HTTP on the demo's model, beside the model retrained without the forget set."""
    place = Place(data)
    place.prepare()
    sizes = {"forget": forget_records, "retain": retain_records, "unseen": unseen_records}
    story = prepare(place.models / "demo", **sizes, seed=seed, console=console)
    with serve(place, story, port), connect(data) as client:
        rows = _rows(client, place, story, seed)
    text = _markdown(rows, sizes, seed)
    console.print(text, markup=False, soft_wrap=True)
    if out is not None:
        put(out, "methods", text)


@app.command(
    "throughput",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
    help="This service's trainer beside a plain one: tokens per second, memory, losses.",
)
def throughput(context: typer.Context) -> None:
    """Hands its arguments to `benchmarks`, which a service that is only run does not have."""
    if find_spec("benchmarks") is None:
        console.print("the benchmarks are not installed here: run this in a checkout of the repository")
        raise typer.Exit(1)
    command = [sys.executable, "-m", "benchmarks.throughput", *context.args]
    raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603 - our own program


app.command("start-up")(start_up)
app.command("interruptions")(interruptions)


def _rows(client: Client, place: Place, story: Story, seed: int) -> list[tuple[str, dict[str, Any], str]]:
    """(row name, measurements, seconds and remarks), the original and the retrained model first."""
    name = register(client, story)
    text = story.forget.with_name("general.jsonl")
    write_jsonl(general(GENERAL_RECORDS, seed), text)
    uploads = {"forget": client.upload(story.forget, "forget")["id"], "general": client.upload(text, "general")["id"]}
    rows: list[tuple[str, dict[str, Any], str]] = []
    for label, (method, kind) in VARIANTS.items():
        body: dict[str, Any] = {"model": name, "from": "base", "method": method, "training": {"seed": seed}}
        body["forget"] = {"file": uploads["forget"]}
        if kind == "general":
            body["retain"] = [{"file": uploads["general"], "kind": "general"}]
        console.print(f"[bold]{label}[/bold]")
        began = time.monotonic()
        job = watch(client, client.post("/v1/jobs", body)["id"], console)
        seconds = f"{time.monotonic() - began:.0f}"
        metrics = client.get(f"/v1/jobs/{job['id']}/metrics")
        if not rows:
            rows.append(("*the original*", metrics["before"], ""))
            cache = place.folder / "demo" / "measured"
            retrained = measured(story, _retrained(story), training=job["training"], cache=cache)
            rows.append(("*retrained without the forget set*", retrained, ""))
        if metrics["after"] is None:
            rows.append((label, metrics["before"], f"{job['status']}: {(job['error'] or {}).get('code', '')}"))
        else:
            if "retain" not in metrics["after"]["sets"]:
                metrics["after"]["sets"]["retain"] = _retain(client, place, story, job)
            rows.append((label, metrics["after"], seconds))
    return rows


def _retain(client: Client, place: Place, story: Story, job: dict[str, Any]) -> dict[str, Any]:
    """The retain figures of a job that was not given the demo's retain set: measured on its checkpoint, downloaded."""
    with TemporaryDirectory() as folder:
        client.download(job["checkpoint"], Path(folder))
        cache = place.folder / "demo" / "measured"
        retain: dict[str, Any] = measured(story, Path(folder), training=job["training"], cache=cache)["sets"]["retain"]
    return retain


def in_words(one: dict[str, Any], original: dict[str, Any]) -> str:
    """Whether it forgot and whether it kept the rest, by the demo's bounds: forget perplexity within 25 % of the
    original's on unseen text; retain and unseen perplexity at most 1.15 times the original's."""
    now, was = ({name: sets["perplexity"]["value"] for name, sets in each["sets"].items()} for each in (one, original))
    ratio = now["forget"] / was["unseen"]
    forgot = "forgets" if 0.75 <= ratio <= 1.25 else "forgets too little" if ratio < 0.75 else "shoots past"
    worst = max(now["retain"] / was["retain"], now["unseen"] / was["unseen"])
    kept = "keeps the rest" if worst <= 1.15 else "harms the rest" if worst <= 2 else "wrecks the model"
    return f"{forgot}, {kept}"


def _retrained(story: Story) -> Path:
    if story.retrained is None:
        raise ValueError("this bench needs the retrained model")
    return story.retrained


def _markdown(rows: list[tuple[str, dict[str, Any], str]], sizes: dict[str, int], seed: int) -> str:
    head = ["", "in words", "forget ppl", "retain ppl", "unseen ppl", "extraction f / u"]
    head += [*(f"{one} AUC" for one in ATTACKS), "s"]
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2)]
    for label, one, seconds in rows:
        sets = one["sets"]
        cells = [figure(sets.get(name, {}).get("perplexity")) for name in ("forget", "retain", "unseen")]
        strengths = [sets[name]["extraction_strength"]["value"] for name in ("forget", "unseen")]
        aucs = [figure(one["attacks"].get(attack, {}).get("auc")) for attack in ATTACKS]
        words = "" if one is rows[0][1] else in_words(one, rows[0][1])
        lines.append([label, words, *cells, " / ".join(f"{value:.2f}" for value in strengths), *aucs, seconds])
    made = (
        f"Made {datetime.now(UTC):%Y-%m-%d} by `unlearn bench methods --seed {seed}`: {sizes['forget']} records to "
        f"forget, {sizes['retain']} to keep and {sizes['unseen']} unseen, half of the last two measured and never "
        f"trained on; {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch "
        f"{version('torch')}. After each figure its 95 % bootstrap interval over records. AUC: forget "
        "against unseen; 0.5 is best, and both ways from it leak. In words: forgets if the forget perplexity is within "
        "25 % of the original's on unseen text, keeps the rest if retain and unseen perplexity are at most 1.15 times "
        "the original's, wrecks the model if one of them is over twice."
    )
    return "\n".join([made, "", *("| " + " | ".join(cells) + " |" for cells in lines)])
