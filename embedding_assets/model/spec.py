"""The embedding spec: everything that decides which vector a text gets.

Belongs here: the value, and how a text of the corpus or a query is put to the model.
Does not belong here: sending it (gemini/client.py) and packing it into files (request_file.py).
"""

from dataclasses import dataclass

from embedding_assets.model.passages import Passage
from embedding_assets.model.tokens import DEFAULT
from embedding_assets.settings.values import Embedding

# Models that take the task in the prompt and ignore task_type (Gemini embeddings guide, 2026).
_PROMPTED_MODELS = frozenset({"gemini-embedding-2"})

# How many tokens of one text a model reads (Gemini embeddings guide, 2026). The Batch API's
# documentation does not say whether what is longer is cut off or refused.
_MAX_INPUT_TOKENS = {"gemini-embedding-001": 2_048, "gemini-embedding-2": 8_192}
_MAX_INPUT_TOKENS_OF_OTHERS = min(_MAX_INPUT_TOKENS.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSpec:
    """One way to turn texts into vectors. Vectors of two specs are never compared.

    ``provider`` tells Google's vectors from the emulator's, which mean nothing to each other.
    """

    provider: str
    model: str
    dimensions: int
    task_type: str

    @classmethod
    def of(cls, embedding: Embedding, *, provider: str) -> "EmbeddingSpec":
        """What the settings ask for, from whoever answers."""
        return cls(
            provider=provider,
            model=embedding.model,
            dimensions=embedding.dimensions,
            task_type=embedding.task_type,
        )

    def __post_init__(self) -> None:
        if self.dimensions <= 0:
            raise ValueError(f"dimensions must be positive, found {self.dimensions!r}")

    @property
    def is_prompted(self) -> bool:
        """The model takes the task in the prompt, not in ``task_type``."""
        return self.model in _PROMPTED_MODELS

    @property
    def document_task_type(self) -> str | None:
        return None if self.is_prompted else self.task_type or None

    @property
    def query_task_type(self) -> str | None:
        """The task type whose vectors are comparable with the documents'."""
        if self.document_task_type == "RETRIEVAL_DOCUMENT":
            return "RETRIEVAL_QUERY"
        return self.document_task_type

    @property
    def max_input_tokens(self) -> int | None:
        """Tokens that the model reads of one input; None if nobody knows."""
        return _MAX_INPUT_TOKENS.get(self.model)

    @property
    def max_text_tokens(self) -> int:
        """Tokens that a text of the corpus may have: the model's limit without the prompt's."""
        limit = self.max_input_tokens or _MAX_INPUT_TOKENS_OF_OTHERS
        prompt = self.document_text(Passage(text=""))
        return limit - DEFAULT.estimate(prompt) if prompt else limit

    def document_text(self, passage: Passage) -> str:
        """What is sent for a passage of the corpus."""
        if self.is_prompted:
            return f"title: {passage.path or 'none'} | text: {passage.text}"
        return f"{passage.path}\n\n{passage.text}" if passage.path else passage.text

    def query_text(self, query: str) -> str:
        """What is sent for a search query."""
        return f"task: search result | query: {query}" if self.is_prompted else query
