"""A job's progress on the terminal: a line for each phase, and a bar while it trains."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from api.client import UnlearningClient
from core.schema import event_types
from core.schema.event_types import EventType
from core.schema.jobs import Job

PHASES = {
    "loading": "loading the model",
    "measuring_before": "measuring before",
    "unlearning": "unlearning",
    "saving": "saving",
    "measuring_after": "measuring what was saved",
    "attacking": "attacking what was saved",
}


def progress_bar(console: Console) -> Progress:
    """Returns a progress bar in the form that all commands use."""
    return Progress(
        TextColumn("  {task.description:<26}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def verdict_text(data: dict[str, Any]) -> str:
    """Returns the verdict in words: `verdict by policy default: not judged (underpowered), of the text itself`."""
    reason = f" ({data['reason'].replace('_', ' ')})" if data["reason"] else ""
    scope = "the text itself" if data["scope"] == "verbatim" else "the text and of questions about it"
    return f"verdict by policy {data['policy']}: {data['verdict'].replace('_', ' ')}{reason}, of {scope}"


def follow_job(client: UnlearningClient, job: str, console: Console) -> Job:
    """Shows the job's progress until it ends, and returns the ended job."""
    with progress_bar(console) as progress:
        task = None
        for message in client.jobs.follow(job):
            match message.type:
                case EventType.PHASE:
                    if task is not None:
                        progress.update(task, completed=progress.tasks[task].total)
                    phase = PHASES.get(message.data["phase"], message.data["phase"])
                    task = progress.add_task(phase, total=1)
                    if not console.is_terminal:  # without a bar, a line shows the phase
                        console.print(f"  {phase}")
                case event_types.PROGRESS_MESSAGE if task is not None and message.data.get("steps"):
                    progress.update(task, completed=message.data["step"], total=message.data["steps"])
                case EventType.WARNING:
                    progress.console.print(f"  [yellow]warning:[/yellow] {message.data['message']}")
                case EventType.JUDGED:
                    progress.console.print(f"  {verdict_text(message.data)}")
                case EventType.REQUEUED:
                    progress.console.print(f"  taken up again: {message.data['reason']}")
                case EventType.SUCCEEDED if task is not None:
                    progress.update(task, completed=progress.tasks[task].total)
    return client.jobs.get(job)
