"""The book to take away: two pages printed as the whole book is, and the site as a zip."""

import zipfile

import pytest
from pypdf import PdfReader

from tools import downloads, pdf

pytestmark = pytest.mark.site
NAMES = ["book/glossary", "notebooks/05_backprop_by_hand", "book/references"]


@pytest.fixture(scope="module")
def printed(built_site, chromium_browser, tmp_path_factory):
    out = tmp_path_factory.mktemp("pdf") / "book.pdf"
    assert pdf.write_pdf(NAMES, out, chromium_browser) == len(PdfReader(out).pages)
    assert list(out.parent.iterdir()) == [out]
    return PdfReader(out)


def test_pages_have_bookmarks_text_and_static_figures(printed):
    titles = [item.title.split(". ")[-1] for item in printed.outline]
    assert titles == ["Glossary", "Backpropagation by hand", "References"]
    text = "".join(page.extract_text() for page in printed.pages)
    assert "Fig. 5.1" in text
    assert "Show code cell" not in text
    assert "Play" not in text


def test_links_stay_in_the_file_or_leave_this_machine(printed):
    inside = outside = 0
    for page in printed.pages:
        for reference in page.get("/Annots", ()):
            action = reference.get_object().get("/A", {})
            assert "127.0.0.1" not in str(action.get("/URI", ""))
            inside += action.get("/S") == "/GoTo"
            outside += "/URI" in action
    assert inside > 0
    assert outside > 0


def test_what_is_wider_than_the_paper_is_refused(built_site, chromium_browser, tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "A4_WIDTH", 60)
    with pytest.raises(pdf.Overflow, match="wider than the paper"):
        pdf.write_pdf(["book/cheatsheets"], tmp_path / "book.pdf", chromium_browser)
    assert list(tmp_path.iterdir()) == []


def test_the_order_is_that_of_the_table_of_contents():
    names = pdf.printed_pages()
    assert names[0] == "book/intro"
    assert names.index("notebooks/01_tensors_and_autograd") < names.index("notebooks/27_character_model")
    assert "book/progress" not in names


def test_the_zip_holds_the_site_and_is_the_same_each_time(tmp_path):
    site = tmp_path / "site"
    (site / "book").mkdir(parents=True)
    for name in ("index.html", "book/intro.html", f"{downloads.NAME}.pdf", f"{downloads.NAME}.zip"):
        (site / name).write_text(name, encoding="utf-8")
    out = site / f"{downloads.NAME}.zip"
    assert downloads.write_zip(site, out) == 2
    first = out.read_bytes()
    (site / "index.html").touch()
    downloads.write_zip(site, out)
    assert out.read_bytes() == first
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == [f"{downloads.NAME}/book/intro.html", f"{downloads.NAME}/index.html"]
        assert archive.read(archive.namelist()[1]) == b"index.html"


def test_links_are_written_once_and_a_page_without_a_place_is_named(built_site, tmp_path):
    page = tmp_path / "intro.html"
    page.write_bytes((built_site / downloads.FIRST).read_bytes())
    for _ in range(2):
        downloads.link(page, ["<p>here</p>"])
    assert page.read_text(encoding="utf-8").count("<p>here</p>") == 1
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match=r"intro\.html has no place"):
        downloads.link(page, [])
