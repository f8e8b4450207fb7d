"""Warnings of a job in plain sentences, for readers who do not know the field."""

from collections.abc import Mapping

WARNINGS: Mapping[str, str] = {
    "adapter_is_no_head": "The job delivers an addition to the model and not a whole model, so that later jobs do not"
    " start from it.",
    "data_made": "The service made some of the texts itself, because nobody named any.",
    "earlier_text_unread": "The text of earlier requests is deleted or could not be read, so that the training may have"
    " used parts of it.",
    "files_left_out": "Some files of the model before the job are not in the new model, because they hold weights that"
    " still know the text.",
    "measured_raw": "Conversations were measured as plain text, without the format in which the model is prompted.",
    "measuring_shortened": "Some measurements were made on fewer records or with fewer tries, to end in time.",
    "merged_here_only": "The delivered addition must be joined with the model by this service: other programs would"
    " join it wrongly.",
    "micro_batch_halved": "Memory was short. The training went on in smaller portions, which changes nothing but its"
    " time.",
    "missing_data": "Some texts are missing that would have made the job or its figures better.",
    "no_adapter_there": "Some parts of the model could not be changed in the chosen way, and were left as they were.",
    "not_all_judged": "The policy has limits that could not be judged, or that have no part in the verdict here.",
    "no_rehearsal": "The model wrote no text of its own by which the rest of its knowledge could be protected, so that"
    " it may have forgotten more than it had to.",
    "not_kept": "Figures could not be kept for later jobs. This does not change the result.",
    "nothing_to_forget": "The figures show no sign that the model knows the text.",
    "nothing_to_score": "Some records are too short to be measured, and were left out.",
    "other_chat_template": "The conversations are written in another format than the model's own.",
    "overlapping_sets": "Some records are in more than one of the sets, which makes the comparison of these sets less"
    " clear.",
    "reference_knows_the_text": "The model that was named as retrained without the text knows it. Limits that compare"
    " with it are not judged.",
    "retain_smaller_than_forget": "Few records to keep serve the training, so that the model may learn them by heart.",
    "samples_not_kept": "Texts that the model wrote could not be kept for later jobs. This does not change the result.",
    "settings_added": "The program was renewed while the job waited, and the new version has settings that the old"
    " version did not have.",
    "small_sample": "Some figures rest on few records and say little: their intervals show how little.",
    "snapshot_failed": "The state of the training could not be stored at some point. This does not change the result.",
    "snapshot_not_used": "A stored state of the training could not be used, and that part was done again. This does not"
    " change the result.",
    "turns_rewritten": "The model's chat format changes some of the conversations, so that it was trained on and"
    " measured with other words than the files have.",
}
"""By the warning's code."""


def warning_words(code: str, message: str) -> str:
    """Returns the warning in a plain sentence with the service's own message, which is technical."""
    own = message.rstrip(".")
    plain = WARNINGS.get(code)
    return f"{own[:1].upper()}{own[1:]}." if plain is None else f"{plain} In the program's words: {own}."
