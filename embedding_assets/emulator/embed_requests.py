"""The embedding models on offer, and one request to them as it arrives on the wire.

Field names are accepted in camel and in snake case, as protobuf's JSON does.
How vectors are made is in `vectors`; where requests come from is no concern of this module.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import numpy as np
import numpy.typing as npt

from embedding_assets.emulator.errors import ApiError, invalid_argument
from embedding_assets.emulator.vectors import FULL_DIMENSIONS, count_tokens, embed

_TASK_TYPES = frozenset(
    {
        "TASK_TYPE_UNSPECIFIED",
        "SEMANTIC_SIMILARITY",
        "CLASSIFICATION",
        "CLUSTERING",
        "RETRIEVAL_DOCUMENT",
        "RETRIEVAL_QUERY",
        "CODE_RETRIEVAL_QUERY",
        "QUESTION_ANSWERING",
        "FACT_VERIFICATION",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An embedding model; every model has a vector space of its own."""

    name: str
    max_input_tokens: int
    unit_length: bool
    """Whether vectors of fewer than 3,072 dimensions come normalised."""


CHANGED_REVISION = " (changed)"
"""Of a model that a fault has changed behind its name, wherever that shows."""

_MODELS = {
    model.name: model
    for model in (
        Model(name="gemini-embedding-001", max_input_tokens=2_048, unit_length=False),
        Model(name="gemini-embedding-2", max_input_tokens=8_192, unit_length=True),
    )
}


def find_model(name: str) -> Model:
    """The model of that name. Raises ApiError 404, as Google does."""
    if name not in _MODELS:
        raise ApiError(
            HTTPStatus.NOT_FOUND,
            f"models/{name} is not found, or is not supported for embedContent.",
        )
    return _MODELS[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """One request answered. The same text, model and dimensions twice is money wasted."""

    sha256: str
    """Hex digest of the text alone."""
    model: str
    dimensions: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """One text to be embedded."""

    model: Model
    text: str
    title: str = ""
    dimensions: int = FULL_DIMENSIONS

    @property
    def tokens(self) -> int:
        """Tokens billed: those the model reads, the title's among them."""
        return min(count_tokens(self._content), self.model.max_input_tokens)

    def purchase(self) -> Purchase:
        """What goes on the bill when it is answered."""
        return Purchase(
            sha256=hashlib.sha256(self.text.encode()).hexdigest(),
            model=self.model.name,
            dimensions=self.dimensions,
            tokens=self.tokens,
        )

    def vector(self, *, revision: str = "") -> npt.NDArray[np.float32]:
        """The answer: shape (dimensions,). What exceeds the model's input limit is not read.

        Another revision is another model behind the same name.
        """
        content = self._content
        n_read = len(content) * self.tokens // count_tokens(content)
        return embed(
            content[: max(1, n_read)],
            self.dimensions,
            space=self.model.name + revision,
            unit_length=self.model.unit_length,
        )

    @property
    def _content(self) -> str:
        return f"{self.title}\n{self.text}" if self.title else self.text


def parse_embed_request(body: object, model: Model) -> EmbedRequest:
    """Read an EmbedContentRequest. Raises ApiError 400 with a message that says what is wrong."""
    if not isinstance(body, Mapping):
        raise invalid_argument(f"The request must be an object, not {type(body).__name__}.")
    _check_model(body, model)
    nested = field(body, "embedContentConfig") or {}
    if not isinstance(nested, Mapping):
        raise invalid_argument("embedContentConfig must be an object.")
    config = {**body, **nested}
    _check_task_type(field(config, "taskType"))
    return EmbedRequest(
        model=model,
        text=content_text(body.get("content")),
        title=_title(config.get("title")),
        dimensions=_dimensions(field(config, "outputDimensionality")),
    )


def field(body: Mapping[str, Any], name: str) -> Any:
    """The value of a field named in camel case, also found under its snake_case name; or None."""
    if name in body:
        return body[name]
    return body.get("".join(f"_{c.lower()}" if c.isupper() else c for c in name))


def content_text(content: object) -> str:
    """The text of a Content: its parts joined by newlines. Raises ApiError 400 if it is blank."""
    parts = content.get("parts") if isinstance(content, Mapping) else None
    if not isinstance(parts, list) or not parts:
        raise invalid_argument("The request's content must have at least one part.")
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in parts]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise invalid_argument("The request's content contains an empty Part.")
    return "\n".join(texts)  # type: ignore[arg-type]  # all are strings


def _check_model(body: Mapping[str, Any], model: Model) -> None:
    named = body.get("model")
    if named is not None and named not in (model.name, f"models/{model.name}"):
        raise invalid_argument(f"The request names the model {named!r}, the call {model.name!r}.")


def _check_task_type(task_type: object) -> None:
    if task_type is not None and task_type not in _TASK_TYPES:
        raise invalid_argument(f"Invalid value for taskType: {task_type!r}.")


def _title(title: object) -> str:
    if title is not None and not isinstance(title, str):
        raise invalid_argument(f"title must be a string, not {type(title).__name__}.")
    return title or ""


def _dimensions(value: object) -> int:
    if value is None:
        return FULL_DIMENSIONS
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= FULL_DIMENSIONS:
        raise invalid_argument(
            f"outputDimensionality must be between 1 and {FULL_DIMENSIONS}, not {value!r}."
        )
    return value
