import io

from zinv.evaluation import progress
from zinv.evaluation.progress import Progress


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


def test_a_log_gets_a_line_now_and_then(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    log = io.StringIO()
    shown = Progress(total=10, done=2, stream=log, every=30)
    for _ in range(4):
        clock.now += 20
        shown.advance(1)
    shown.close()
    assert log.getvalue().splitlines() == [
        "4/10 images, 20 s/image, 2:00 left",
        "6/10 images, 20 s/image, 1:20 left",
    ]


def test_other_processes_are_counted_with_the_first(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    shown = Progress(total=9, num_ranks=4, stream=io.StringIO())
    clock.now += 8
    shown.advance(2)
    assert shown.line() == "8/9 images, 1 s/image, 0:01 left"
    shown.advance(1)
    assert shown.done == 9


def test_a_terminal_gets_a_bar():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    shown = Progress(total=3, stream=screen)
    shown.advance(1)
    assert shown.bar is not None and shown.bar.tasks[0].completed == 1
    shown.close()
    assert Progress(total=3, done=3, stream=screen).bar is None
