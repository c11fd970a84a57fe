"""The one error that the learner raises for what its caller can mend."""


class InputError(ValueError):
    """What the caller handed in cannot be used; the message is one clear line."""
