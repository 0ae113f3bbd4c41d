"""The records of all shards of a run as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from harness.reports.record import RunRecord

__all__ = ["merge"]


def merge(records: Sequence[RunRecord]) -> tuple[RunRecord, list[str]]:
    """One record of at least one, and what is wrong: selected cases that no shard or more than one shard has run, for
    each of the clients. The results stand in the order of the selection."""
    selected = list(dict.fromkeys(name for record in records for name in record.selected))
    results = [result for record in records for result in record.results]
    clients = list(dict.fromkeys(result.client for result in results)) or [""]
    order = {name: index for index, name in enumerate(selected)}
    results.sort(key=lambda result: (order.get(result.id, len(order)), clients.index(result.client)))
    counts = Counter((result.id, result.client) for result in results)
    wrong = []
    for name in dict.fromkeys([*selected, *(result.id for result in results)]):
        for client in clients:
            count = counts[name, client]
            who = f" (client {client})" if len(clients) > 1 else ""
            if count == 0 and name in order:
                wrong.append(f"{name} is missing{who}: no file has a result of it")
            elif count > 1:
                wrong.append(f"{name} stands {'twice' if count == 2 else f'{count} times'}{who}")
    first = min(records, key=lambda record: record.started)
    merged = RunRecord(
        mailrig=first.mailrig,
        seed=records[0].seed,
        started=first.started,
        seconds=max(record.seconds for record in records),
        interrupted=any(record.interrupted for record in records),
        selected=selected,
        results=results,
    )
    return merged, wrong
