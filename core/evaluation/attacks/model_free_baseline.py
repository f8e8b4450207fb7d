"""Model-free baseline: how far two sets of text can be told apart by their letters alone."""

from collections.abc import Sequence

import numpy as np

from core.evaluation.stats.bootstrap import Values
from core.schema.record import Record

FOLDS = 5
_CHARACTERS = 4000
_FEATURES = 50_000


def out_of_fold_scores(members: Sequence[Record], non_members: Sequence[Record], *, seed: int) -> Values | None:
    """The log odds that each record is a member, (m + n,), by a classifier that saw neither it nor its subject.

    TF-IDF of runs of one to four letters within words (which suits every script) and logistic regression, in up to five
    stratified folds, on the first 4000 characters of each record. None where the subjects do not make folds of which
    every remainder holds records of both sets.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    records = [*members, *non_members]
    label = np.repeat([1, 0], [len(members), len(non_members)])
    subject = np.unique([_subject(record, index) for index, record in enumerate(records)], return_inverse=True)[1]
    folds = min(FOLDS, len(set(subject[label == 1])), len(set(subject[label == 0])))
    if folds < 2:
        return None
    # The weights of terms do not depend on labels, so they are computed once, from all texts.
    terms = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, max_features=_FEATURES)
    table = terms.fit_transform([_text(record) for record in records])  # (m + n, features)
    scores = np.zeros(len(records))
    for rest, fold in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(table, label, subject):
        if len(set(label[rest])) < 2:
            return None
        classifier = LogisticRegression(class_weight="balanced", max_iter=1000).fit(table[rest], label[rest])
        scores[fold] = classifier.decision_function(table[fold])
    return scores


def _subject(record: Record, index: int) -> str:
    return f"record {index}" if record.subject is None else f"subject {record.subject}"


def _text(record: Record) -> str:
    """The text that a model reads: the prompt tells topics apart as well as the scored text does."""
    return "\n".join(record.texts())[:_CHARACTERS]
