"""The bill: the same as Gemini's to the token, and what it would have cost otherwise."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256

from embedding_assets.emulator.faults.kinds import Endpoint, FaultKind
from embedding_assets.model.shards import Shard, ShardState
from embedding_assets.money.bill import Bill, Grouping, Statement, make_statement
from embedding_assets.pipeline.budget import look_into_purse
from embedding_assets.settings.values import ModelPrice, RouteChoice
from tests.factories import NOW, SPEC
from tests.integration.world import World, a_text, documents, notes

BATCH_PRICE = Decimal("0.075") / 1_000_000
SYNC_PRICE = Decimal("0.15") / 1_000_000
_PLANS = 8

SENTENCES = {
    "en": "Lamp {n}: the keeper trims the wick before the fog comes in from the sea.",
    "de": "Leuchte {n}: Der Wärter kürzt den Docht, bevor der Nebel vom Meer heraufzieht.",
    "ru": "Лампа {n}: смотритель подрезает фитиль, пока над морем не поднялся туман.",
    "ar": "المصباح {n}: يقص الحارس الفتيل قبل أن يأتي الضباب من البحر.",
    "ja": "ランプ{n}。海から霧が来る前に、番人は芯を切りそろえる。",
}


def in_five_languages(n: int) -> dict[str, str]:
    """So many texts of each language, by uri, unlike each other."""
    return {
        f"{language}/{number:03d}.txt": sentence.format(n=f"{language}{number:03d}")
        for number in range(n)
        for language, sentence in SENTENCES.items()
    }


def statement_of(world: World, by: Grouping = Grouping.MONTH) -> Statement:
    return make_statement(world.index.bills.all(world.settings.prices), by=by)


def total_of(world: World) -> Bill:
    [total] = statement_of(world).totals
    return total.bill


def plans(world: World, corpus: dict[str, str]) -> Iterator[list[Shard]]:
    """Plan after plan, until every text is embedded."""
    generation = world.build(documents(corpus))
    for _ in range(_PLANS):
        yield world.plan(generation)
        progress = world.progress(generation)
        assert progress.n_failed == 0
        if progress.n_embedded == progress.n_chunks:
            return
    raise AssertionError(f"not embedded after {_PLANS} plans")


def test_the_bill_is_the_emulators_after_failures_and_retries(world: World) -> None:
    """Five languages, lines that fail or are missing, jobs that die with half an output."""
    world = world.changed(max_requests_per_job=40, max_chunk_attempts=_PLANS)
    world.strike(FaultKind.JOB_FAILED, times=1, answered=0.5)
    world.strike(FaultKind.JOB_EXPIRED, times=1, answered=0.3)
    world.strike(FaultKind.JOB_CANCELLED, times=1)
    world.strike(FaultKind.JOB_PARTIAL, times=1)
    world.strike(FaultKind.ERROR_LINE, probability=0.15)
    world.strike(FaultKind.MISSING_LINE, probability=0.15)
    world.strike(FaultKind.DUPLICATE_LINE, probability=0.1)
    corpus = in_five_languages(60)
    for shards in plans(world, corpus):
        for shard in shards:
            _brought_home(world, shard)
    bill, total = world.emulator.bill(), total_of(world)
    assert (total.billed_tokens, total.n_embedded) == (bill.tokens, len(corpus))
    assert (bill.requests, bill.bought_twice) == (len(corpus), ())
    assert all(record.n_struck for record in world.emulator.faults.records())
    assert total.n_failed > 60
    assert total.billed_usd == bill.tokens * BATCH_PRICE
    assert total.sync_usd == bill.tokens * SYNC_PRICE
    assert total.without_reuse_usd == total.billed_usd
    assert (total.n_not_bought, total.n_requests) == (0, total.n_embedded + total.n_failed)


def _brought_home(world: World, shard: Shard) -> None:
    """Submit a shard until a job of it has answers, and collect them."""
    while world.collect_shard(shard) is None:
        world.submit(shard)
        world.poll()


def test_what_was_answered_of_a_superseded_shard_stays_on_the_bill(world: World) -> None:
    """A job that was answered in part, and a new build before the rest is halved."""
    [shard] = world.plan(world.build(notes(range(12))))
    world.strike(FaultKind.POISON_TEXT, match="Note 3 ", answered=0.5)
    world.submit(shard)
    assert world.finish(shard).n_embedded > 0
    world.build(notes(range(13)))
    assert world.index.shards.get(shard.key).state is ShardState.ABANDONED
    assert total_of(world).billed_tokens == world.emulator.bill().tokens > 0
    provider = world.gemini.provider
    purse = look_into_purse(world.index, world.settings, provider=provider, now=NOW)
    assert purse.month_spent_usd == total_of(world).billed_usd


def test_an_answer_that_is_lost_with_the_rest_of_its_job_is_billed(world: World) -> None:
    """A job that one text has ended: what it answered and nobody got is bought again, not free."""
    [shard] = world.plan(world.build(notes(range(12))))
    world.strike(FaultKind.POISON_TEXT, match="Note 3 ", answered=0.5)
    world.strike(FaultKind.MISSING_LINE, is_billed=True, times=1)
    world.submit(shard)
    n_embedded = world.finish(shard).n_embedded
    assert world.index.shards.counts(shard).n_pending == 12 - n_embedded
    assert world.emulator.bill().requests == n_embedded + 1
    assert total_of(world).billed_tokens >= world.emulator.bill().tokens


def test_the_bill_is_the_emulators_with_refused_texts(world: World) -> None:
    """By the synchronous route, what it costs to tell a bad text from a bad key is on the bill."""
    world = world.changed(route=RouteChoice.SYNC)
    for name in ("ru003", "ru004", "ja017", "ar029"):
        world.strike(FaultKind.CALL_ERROR, endpoint=Endpoint.EMBED, status=400, match=name)
    generation = world.build(documents(in_five_languages(30)))
    [shard] = world.plan(generation)
    world.embed(shard)
    world.collect(shard)
    total = total_of(world)
    assert (total.n_embedded, total.n_failed) == (146, 4)
    assert total.billed_tokens == world.emulator.bill().tokens
    assert total.billed_usd == total.sync_usd == total.billed_tokens * SYNC_PRICE


def test_what_is_reused_is_not_billed_and_not_forgotten(world: World) -> None:
    """The second month pays for what is new; without reuse it would have paid for all."""
    world.reindex(notes(range(10)))
    first = world.emulator.bill().tokens
    world.reindex(notes(range(2, 13)), month="2026-12")
    second = world.emulator.bill().tokens - first
    november, december = statement_of(world).lines
    assert (november.labels["month"], november.bill.billed_tokens) == ("2026-11", first)
    assert november.bill.without_reuse_usd == november.bill.billed_usd
    bill = december.bill
    assert (december.labels["month"], bill.n_requests, bill.billed_tokens) == (
        *("2026-12", 3),
        second,
    )
    kept = tokens_of(world, range(2, 10))
    assert bill.without_reuse_usd == (kept + second) * BATCH_PRICE
    assert bill.saved_usd == (kept + second) * BATCH_PRICE
    total = total_of(world)
    assert total == november.bill + bill


def tokens_of(world: World, numbers: Iterable[int]) -> int:
    """What the emulator billed for the notes of these numbers."""
    wanted = {sha256(a_text(number).encode()).hexdigest() for number in numbers}
    return sum(text.tokens for text in world.emulator.bill().texts if text.sha256 in wanted)


def test_a_generation_that_was_superseded_stays_on_the_bill(world: World) -> None:
    """What it bought serves the next one; a draft or a generation that sent nothing is no line."""
    superseded = world.embed_all(notes(range(10)))
    world.build(notes(range(3)))
    published = world.reindex(notes(range(12)))
    lines = statement_of(world, Grouping.GENERATION).lines
    assert [line.labels["generation"] for line in lines] == [
        str(superseded.generation_id),
        str(published.generation_id),
    ]
    assert [line.labels["state"] for line in lines] == ["abandoned", "published"]
    assert [line.bill.n_requests for line in lines] == [10, 2]
    assert lines[0].bill.without_reuse_usd == lines[0].bill.billed_usd
    assert lines[1].bill.without_reuse_usd == total_of(world).billed_usd
    assert total_of(world).billed_tokens == world.emulator.bill().tokens


def test_chunks_without_a_vector_are_left_out_and_counted(world: World) -> None:
    """Nothing is claimed for what was not bought yet; shards that wait cannot be compared."""
    world.plan(world.build(notes(range(10))))
    total = total_of(world)
    assert (total.n_shards, total.n_requests, total.n_not_bought) == (1, 10, 10)
    assert total.estimated_usd > total.billed_usd == total.without_reuse_usd == 0
    assert total.comparable_error is None


def test_only_shards_without_a_failure_are_compared(world: World) -> None:
    """A request that failed is in the estimate and not on the bill: that is no error of it."""
    small = world.changed(max_requests_per_job=5)
    small.strike(FaultKind.ERROR_LINE, match="Note 7 ")
    small.embed_all(notes(range(10)))
    total = total_of(small)
    shard = small.index.shards.get("2026-11-0001")
    billed = small.index.shards.counts(shard).billed_tokens
    assert (total.comparable_estimated_tokens, total.comparable_billed_tokens) == (
        shard.estimated_tokens,
        billed,
    )
    assert total.comparable_error == (shard.estimated_tokens - billed) / billed


def test_each_model_has_its_line_and_its_price(world: World) -> None:
    """The same corpus by two models is two lines, each at the price of its own."""
    other = replace(SPEC, model="gemini-embedding-2")
    world.reindex(notes(range(5)))
    world.reindex(notes(range(5)), spec=other)
    lines = statement_of(world, Grouping.MODEL).lines
    assert [line.labels["model"] for line in lines] == [SPEC.model, other.model]
    for line, usd in zip(lines, ("0.15", "0.2"), strict=True):
        assert line.bill.sync_usd == line.bill.billed_tokens * Decimal(usd) / 1_000_000
    assert {line.bill.n_requests for line in lines} == {5}


def test_a_price_of_the_settings_is_for_the_other_route(world: World) -> None:
    """Synchronously it would cost what the settings say now; what was paid stays as it was."""
    world.reindex(notes(range(5)))
    before = total_of(world)
    price = ModelPrice(sync=Decimal("0.9"), batch=Decimal("0.3"))
    bills = world.index.bills.all({SPEC.model: price})
    [after] = make_statement(bills, by=Grouping.MONTH).totals
    assert after.bill == replace(before, sync_usd=before.billed_tokens * 6 * SYNC_PRICE)


def test_nothing_reindexed(world: World) -> None:
    """An empty index has an empty statement."""
    assert statement_of(world) == Statement(by=Grouping.MONTH, lines=(), totals=())
