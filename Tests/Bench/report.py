"""Numbers to tables: aligned for the terminal, and valid Markdown for docs."""

import statistics


def table(head, rows):
    """An aligned Markdown table; the first column is left-aligned, the others right-aligned."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row):
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        return "| " + " | ".join(cells) + " |"

    rule = "|" + "-" * (widths[0] + 2) + "|" + "".join("-" * (w + 1) + ":|" for w in widths[1:])
    return "\n".join([line(head), rule, *map(line, rows)])


def quantity(value, digits=3):
    """A number with about three significant digits and thousands separated."""
    if value is None:
        return "–"
    decimals = 0
    while decimals < 3 and abs(value) < 10 ** (digits - 1 - decimals):
        decimals += 1
    return f"{value:,.{decimals}f}"


def median(rounds, field):
    values = [r[field] for r in rounds if r.get(field) is not None]
    return statistics.median(values) if values else None


def spread(rounds, field):
    """(highest − lowest) / median: how far the rounds were apart."""
    values = [r[field] for r in rounds if r.get(field) is not None]
    middle = statistics.median(values) if values else 0
    return (max(values) - min(values)) / middle if middle else 0.0


def ratio(value, reference):
    return f"{value / reference:.2f}" if value and reference else "–"


def reference_of(results):
    """Beside whom: nginx, or the program without sensors where only its variants are measured."""
    return "nginx" if "nginx" in results or "holdfast-off" not in results else "holdfast-off"


def workload_table(workload, results):
    """One workload, a row per server. `results` maps server names to {"rounds", "memory", …}."""
    beside = reference_of(results)
    reference = results.get(beside, {})
    if workload.kind == "idle":
        rows = [
            [
                name,
                quantity(r["bytes_per_connection"]),
                ratio(r["bytes_per_connection"], reference.get("bytes_per_connection")),
                quantity(r["memory"] / 2**20),
            ]
            for name, r in results.items()
        ]
        return table(["server", "bytes/connection", f"÷ {beside}", "memory MiB"], rows)
    rows = []
    for name, r in results.items():
        rows.append(
            [
                name,
                quantity(r["cpu"]),
                ratio(r["cpu"], reference.get("cpu")),
                f"±{r['spread'] * 50:.0f}%" + ("" if r["calm"] else " !"),
                quantity(r["requests_per_second"]),
                quantity(r["bytes_per_second"] / 2**20),
                f"{r['busy'] * 100:.0f}%",
                quantity(r["memory"] / 2**20),
            ]
        )
    per = "CPU ms/GiB" if workload.unit == "GiB" else "CPU µs/request"
    return table(
        ["server", per, f"÷ {beside}", "spread", "requests/s", "MiB/s", "core busy", "memory MiB"], rows
    )


def summary_table(workloads, results, servers):
    """All workloads at a glance: CPU (or memory) per unit, as a ratio to nginx."""
    rows = []
    for workload in workloads:
        found = results.get(workload.name)
        if not found:
            continue
        field = "bytes_per_connection" if workload.kind == "idle" else "cpu"
        reference = found.get(reference_of(found), {}).get(field)
        rows.append(
            [workload.sentence] + [ratio(found.get(s, {}).get(field), reference) for s in servers]
        )
    return table([f"÷ {reference_of(servers)} (less is better)", *servers], rows)
