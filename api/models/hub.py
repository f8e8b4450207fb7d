"""Models from the Hugging Face Hub or an operator's mirror: pinned to a commit, without files that could be code."""

from dataclasses import dataclass
from pathlib import Path

from core.schema.model_shape import UnusableModel
from core.settings import Settings

PREFIX = "hf:"
FILES = [
    *("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "tokenizer.model", "spiece.model", "*.txt"),
    *("*.md", "LICENSE*", "NOTICE*"),
]


@dataclass(frozen=True)
class Repository:
    """`hf:org/name@revision`."""

    name: str
    revision: str

    @classmethod
    def parse(cls, source: str) -> "Repository":
        """Raises UnusableModel where the source has another form."""
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils._validators import validate_repo_id

        name, _, revision = source.removeprefix(PREFIX).partition("@")
        try:
            validate_repo_id(name)
        except HFValidationError:
            name = ""
        if name.count("/") != 1 or not (revision or "main").isprintable():
            raise UnusableModel("bad-source", "write a Hub repository as hf:org/name or hf:org/name@revision")
        return cls(name, revision or "main")

    def is_allowed(self, patterns: list[str]) -> bool:
        """Returns whether the operator's list names the repository, its organisation as `org/*`, or all as `*`."""
        organisation = self.name.partition("/")[0]
        return any(pattern in (self.name, f"{organisation}/*", "*") for pattern in patterns)


def fetch_repository(repository: Repository, settings: Settings) -> tuple[Path, str]:
    """Downloads the files that the cache lacks; returns the directory and the commit. Blocks. Raises UnusableModel."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    token = settings.hf_token_file.read_text().strip() if settings.hf_token_file else False
    try:
        info = HfApi(endpoint=settings.hf_endpoint, token=token).model_info(
            repository.name, revision=repository.revision, timeout=30
        )
        if info.sha is None:
            raise UnusableModel("not-fetched", "the Hub does not say which commit this revision is")
        directory = snapshot_download(
            repository.name,
            revision=info.sha,
            allow_patterns=FILES,
            cache_dir=settings.model_cache,
            endpoint=settings.hf_endpoint,
            token=token,
        )
    except GatedRepoError:
        raise UnusableModel("not-fetched", "the repository is gated: the operator's token has no access") from None
    except RepositoryNotFoundError:
        raise UnusableModel("not-fetched", "the Hub has no such repository, or the token may not see it") from None
    except RevisionNotFoundError:
        raise UnusableModel("not-fetched", "the repository has no such revision") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        raise UnusableModel("not-fetched", f"the Hub answered {status}") from None
    except (LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UnusableModel("not-fetched", f"the Hub could not be read ({type(error).__name__})") from None
    return Path(directory), info.sha
