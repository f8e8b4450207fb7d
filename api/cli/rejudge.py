"""The verdict of a report, drawn again from the report's own figures and policy."""

from core.evaluation.policy.verdict import judge
from core.evidence.findings import Findings
from core.schema.policies import JudgedBound
from core.schema.report import Report


def check_verdict(report: Report, findings: Findings) -> None:
    """Judges the stated figures by the stated policy, and names each bound whose stated result is another."""
    verdict, figures = report.verdict, report.figures
    if verdict is None or figures.after is None:
        findings.unchecked.append("the verdict: the job was not judged")
        return
    again = judge(verdict.policy, before=figures.before, after=figures.after, retrained=figures.retrained)
    failures = []
    judged = {bound.bound.name: bound for bound in again.bounds}
    stated = {bound.bound.name: bound for bound in verdict.bounds}
    for name in sorted(judged.keys() | stated.keys()):
        if name not in judged or name not in stated:
            failures.append(f"the verdict, bound {name}: policy and verdict do not both have it")
            continue
        wrong = [
            field for field in JudgedBound.model_fields if getattr(judged[name], field) != getattr(stated[name], field)
        ]
        if wrong:
            failures.append(
                f"the verdict, bound {name}: {', '.join(wrong)} is not what follows from the stated figures and policy"
            )
    for field, value, expected in (
        ("result", verdict.result, again.verdict),
        ("reason", verdict.reason, again.reason),
        ("scope", verdict.scope, again.scope),
    ):
        if value != expected:
            failures.append(f"the verdict, {field}: {value} is stated, {expected} follows from the figures")
    for part in verdict.parts:
        expected_part = again.parts.get(part.part)
        if expected_part is None or part.result != expected_part.result:
            failures.append(f"the verdict, part {part.part}: its result does not follow from the figures")
    findings.failures += failures
    if not failures:
        findings.checked.append(f"the verdict ({verdict.result}) follows from the stated figures and policy")
