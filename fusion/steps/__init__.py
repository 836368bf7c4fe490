"""The methods of fusion, one file each."""

__all__: list[str] = []
