"""What a report says first, in words: which population cooperates, by how much, and how sure that is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from benchmarl_reciprocator.evaluation.reports.ordered import OrderedResults, measured
from benchmarl_reciprocator.evaluation.reports.words import counted, listed
from benchmarl_reciprocator.evaluation.result_files import evaluated_too_early
from benchmarl_reciprocator.evaluation.sections import Block, Bullets, Measured, Paragraph, Table, literal
from benchmarl_reciprocator.evaluation.statistics import FEW_SEEDS, difference, within_noise_of_the_best

# With fewer seeds intervals are a rough guide: a bootstrap of so few values is too narrow.
ENOUGH_SEEDS = 5
# Below this share of its range a measure of cooperation says that nobody cooperates.
SOME = 0.1
# The section on runs whose scores are of before their end.
TOO_EARLY = "Not evaluated at the end"
# More populations than these are not named one by one.
NAMED = 4


@dataclass(frozen=True)
class Finding:
    """What is found on a task.

    Args:
        text (str): a sentence or two.
        leaders (tuple of str): the best population and all that are within noise of it; empty where noise is not known
            or nobody cooperates.
        ahead (bool): whether they are ahead of others.
    """

    text: str
    leaders: tuple[str, ...] = ()
    ahead: bool = False


def headline(ordered: OrderedResults, failed: int = 0) -> list[Block]:
    """The head of the report.

    Args:
        ordered (OrderedResults): of at least one run.
        failed (int): number of runs that failed.
    """
    findings = {task: finding(ordered, task) for task in ordered.tasks}
    items = [f"**{literal(ordered.title(task))}.** {found.text}" for task, found in findings.items()]
    lead = Paragraph(_lead(ordered, findings), lead=True)
    blocks: list[Block] = [lead, Paragraph(_how_sure(ordered)), Bullets(items)]
    if failed:
        were = "run is" if failed == 1 else "runs are"
        blocks.append(Paragraph(f"**{failed} {were} missing:** see *Failed runs*."))
    early = len(evaluated_too_early(ordered.results))
    if early:
        were = "run was" if early == 1 else "runs were"
        blocks.append(Paragraph(f"**{early} {were} not evaluated at the end of training:** see *{TOO_EARLY}*."))
    return blocks


def finding(ordered: OrderedResults, task: str) -> Finding:
    """Who is ahead on a task: by its measure of cooperation, by return where it has none."""
    measure = ordered.measures.get(task)
    column, label = (measure.metric, measure.label) if measure is not None else ("score", "return")
    scores = ordered.scores(task, column)
    rivals = ordered.selfish(list(scores))
    if not rivals:
        return Finding(f"{label} was not measured.")
    means = {name: measured(ordered.ends_of(task, name)[column]) for name in scores}
    ranked = sorted(rivals, key=lambda name: -means[name].estimate)
    best, worst = ranked[0], ranked[-1]
    reference = [name for name in scores if name not in rivals]
    beside = "".join(f" {ordered.named(name)}: {means[name]}." for name in reference)
    if len(rivals) == 1:
        return Finding(f"{ordered.named(best)}: {label} {means[best]}.{beside}")
    leaders = within_noise_of_the_best({name: scores[name] for name in rivals})
    spread = f"{label} from {means[worst]} ({ordered.named(worst)}) to {means[best]} ({ordered.named(best)})"
    if not leaders:
        return Finding(f"One seed: {spread}.{beside}")
    if measure is not None and means[best].estimate < measure.low + SOME * (measure.high - measure.low):
        return Finding(f"Nobody cooperates: {spread}.{beside}")
    if len(leaders) == len(rivals):
        return Finding(f"No difference beyond noise: {spread}.{beside}", tuple(leaders))
    next_best = next(name for name in ranked if name not in leaders)
    gap = Measured(*difference(scores[best], scores[next_best]))
    text = (
        f"{label} {_values(ordered, leaders, means)}; next {ordered.named(next_best)} with {means[next_best]}, "
        f"{gap} below {ordered.named(best) if len(leaders) > 1 else 'it'}."
    )
    return Finding(text + beside, tuple(leaders), ahead=True)


def overview(ordered: OrderedResults) -> Table | None:
    """Cooperation of every population on every task that measures it; ``None`` where there is one task or none."""
    tasks = [task for task in ordered.tasks if task in ordered.measures]
    if len(tasks) < 2:
        return None
    rows: list[list[str | Measured]] = []
    for population in ordered.populations:
        row: list[str | Measured] = [ordered.named(population)]
        for task in tasks:
            measure, ends = ordered.measures[task], ordered.ends_of(task, population)
            row.append(measured(ends[measure.metric], (measure.low, measure.high)) if len(ends) else "")
        rows.append(row)
    columns = [f"{literal(ordered.title(task))}: {ordered.measures[task].label}" for task in tasks]
    return Table(["population", *columns], rows, name="cooperation")


def _values(ordered: OrderedResults, names: list[str], means: dict[str, Measured]) -> str:
    if len(names) > NAMED:
        lowest = min(means[name].estimate for name in names)
        named = listed(ordered.named(name) for name in names[:NAMED])
        return f"{lowest:.2f} to {means[names[0]].estimate:.2f} of {len(names)} populations, {named} among them"
    return listed(f"{means[name]} of {ordered.named(name)}" for name in names)


def _lead(ordered: OrderedResults, findings: dict[str, Finding]) -> str:
    """The one sentence."""
    ahead = [task for task, found in findings.items() if found.ahead]
    if not ahead:
        return "No population is ahead of the others beyond noise."
    # Returns count only where no task with a measure of cooperation has anybody ahead.
    cooperation = any(task in ordered.measures for task in ahead)
    verb = "cooperate" if cooperation else "earn"
    tasks = [task for task in ordered.tasks if (task in ordered.measures) == cooperation]
    wins = Counter(name for task in tasks for name in findings[task].leaders)
    most = max(wins.values())
    # In the order of the report: the package's own first.
    winners = [name for name in ordered.populations if wins[name] == most]
    names = listed(f"**{ordered.named(name)}**" for name in winners[:NAMED])
    if len(winners) > NAMED:
        names = f"{len(winners)} populations, {names} among them,"
    plural = "" if len(winners) > 1 else "s"
    rivals = " among self-interested populations" if ordered.references else ""
    if len(tasks) == 1:
        return f"{names} {verb}{plural} most{rivals}."
    where = f"on {most} of {len(tasks)} tasks"
    if most == len(tasks):
        where = "on both tasks" if most == 2 else f"on all {most} tasks"
    if len(tasks) < len(ordered.tasks):
        where += " that measure cooperation" if cooperation else " that do not measure cooperation"
    return f"{names} {verb}{plural} most{rivals}, or cannot be told apart from the best, {where}."


def _how_sure(ordered: OrderedResults) -> str:
    seeds = ordered.seeds
    if seeds < FEW_SEEDS:
        return (
            f"How sure: not at all. With {counted(seeds, 'seed')} for a population **no conclusion should be drawn**; "
            f"{ENOUGH_SEEDS} or more tell differences from luck."
        )
    text = (
        f"How sure: {counted(seeds, 'seed')} for each population and task at least; numbers are interquartile means "
        "with 95% bootstrap intervals."
    )
    if seeds < ENOUGH_SEEDS:
        text += " Intervals of so few seeds are too narrow: small differences are hints."
    return text
