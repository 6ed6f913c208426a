import metertap


def test_a_decorated_tool_is_in_the_document() -> None:
    with metertap.instrument() as tap:

        @metertap.tool
        def search() -> int:
            return 1

        search()
        assert tap.snapshot()["tool_metrics"]["search"]["successful_calls"] == 1
