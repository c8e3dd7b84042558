"""Property tests on a busy machine, and a tiny database of handwriting."""

import io
import pathlib
import tarfile
from collections.abc import Callable

import hypothesis
import pytest

# A limit on the time of one example measures the machine's load.
hypothesis.settings.register_profile(
  "unhurried",
  deadline=None,
  suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unhurried")


def _line_xml(form: str, number: int) -> str:
  """Two strokes of a few points that differ from line to line."""
  size = 3 + number + len(form)
  points = [
    f'<Point x="{10 * i + i % 4}" y="{i * i % 7}" time="{0.0148 * i:.4f}"/>'
    for i in range(size)
  ]
  strokes = "".join(
    f"<Stroke>{''.join(part)}</Stroke>" for part in (points[:2], points[2:])
  )
  return (
    '<?xml version="1.0" encoding="ISO-8859-1"?>\n<WhiteboardCaptureSession>'
    f"<StrokeSet>{strokes}</StrokeSet></WhiteboardCaptureSession>"
  )


# Lines and transcribed lines of each form.
_TINY_FORMS = {
  "trainset": {"a01-000u": (2, 2), "a01-001": (2, 1)},
  "testset_f": {"b01-000": (3, 3)},
  "testset_t": {"c01-000z": (1, 1)},
  "testset_v": {"d01-000": (2, 2)},
  "": {"z01-000": (1, 0)},
}


@pytest.fixture(scope="session")
def tiny_iamondb() -> Callable[..., pathlib.Path]:
  """Makes a data folder with a database of a few lines: 8 to train on, 2 not.

  `tiny_iamondb(folder, packed=True, change={"name": data or None})` returns
  `folder`; `change` replaces files of the database, or leaves them out.
  """

  def make(
    folder: pathlib.Path,
    *,
    packed: bool = True,
    change: dict[str, bytes | None] | None = None,
  ) -> pathlib.Path:
    contents: dict[str, bytes | None] = {}
    for name, forms in _TINY_FORMS.items():
      if name:
        contents[f"{name}.txt"] = "".join(f" {f}\n" for f in forms).encode()
      for form, (lines, written) in forms.items():
        place = f"{form[:3]}/{form[:7]}/{form}"
        for number in range(1, lines + 1):
          contents[f"lineStrokes/{place}-{number:02d}.xml"] = _line_xml(
            form, number
          ).encode()
        text = "\r\n".join(
          f"Line {n} of {form[0]}." for n in range(1, written + 1)
        )
        contents[f"ascii/{place}.txt"] = f"OCR:\n\nCSR:\n\n{text}\n".encode()
    contents.update(change or {})
    base = folder / "iamondb"
    base.mkdir(parents=True)
    archives: dict[str, dict[str, bytes]] = {"lineStrokes": {}, "ascii": {}}
    for name, data in contents.items():
      top = name.partition("/")[0]
      if data is None:
        continue
      if packed and top in archives:
        archives[top][name] = data
        continue
      (base / name).parent.mkdir(parents=True, exist_ok=True)
      (base / name).write_bytes(data)
    for top, members in archives.items():
      if members:
        with tarfile.open(base / f"{top}-all.tar.gz", "w:gz") as archive:
          for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return folder

  return make
