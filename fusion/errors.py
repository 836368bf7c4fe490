"""The one error type for input that a user has to mend."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Bad input: a file, a row, a field or an option that cannot be used as it is.

    The message always has the same three parts: where the fault is, what was found against what was
    expected, and what to do about it. The command line prints it and exits with code 2.

    Args:
        where: The file, row, field or option ("a.json, detection 17, field 'bbox'").
        problem: What came and what was expected.
        remedy: What the user can do; may be empty when the problem says it all.
    """

    def __init__(self, where: object, problem: str, remedy: str = "") -> None:
        self.where = str(where)
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{self.where}: {problem}." + (f" {remedy}." if remedy else ""))
