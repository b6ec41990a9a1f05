"""Where the files of one scale lie."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

JudgeKind = Literal["oracle", "model", "person"]


@dataclass(frozen=True)
class Places:
    """Where the files of one scale lie: everything is written under `folder`."""

    folder: Path

    def data(self, name: str) -> Path:
        """JSONL of a training or prompt set; its card lies beside it."""
        return self.folder / "data" / f"{name}.jsonl"

    def model(self, training_set: str, seed: int) -> Path:
        """Folder of one training run."""
        return self.folder / "models" / training_set / f"seed-{seed}"

    def tuning(self, training_set: str) -> Path:
        """JSON with the learning rate that an arm's first seed chose, for its other seeds."""
        return self.folder / "models" / training_set / "tuning.json"

    def responses(self, system: str, seed: int) -> Path:
        """JSONL of a system's answers; beside it a server's replies, `replies.jsonl`."""
        return self.folder / "responses" / system / f"seed-{seed}.jsonl"

    def judgments(self, judge: JudgeKind, name: str) -> Path:
        """JSONL of what a judge said: its grades are named `<system>/seed-<seed>`, a model's
        replies `replies/...`, and people's verdicts on pairs `verdicts`."""
        return self.folder / "judgments" / judge / f"{name}.jsonl"

    def metrics(self, notebook: str) -> Path:
        """JSON of a notebook's figures, which the book's prose quotes."""
        return self.folder / "metrics" / f"{notebook}.json"

    def given(self, path: str) -> Path:
        """A path that the scale's file gives: a relative one begins at the scale's `raw` folder."""
        return self.folder / "raw" / Path(path).expanduser()
