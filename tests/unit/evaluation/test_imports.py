"""The modules of `core.evaluation` import each other in one direction, imports for type checking included."""

import grimp


def test_no_two_modules_import_each_other_even_for_types() -> None:
    graph = grimp.build_graph("core")
    modules = {module for module in graph.modules if module.startswith("core.evaluation")}
    imports = {module: graph.find_modules_directly_imported_by(module) & modules for module in modules}
    remaining = dict(imports)
    # modules that import no remaining one are taken away, until none is left or each is part of a circle
    while free := {module for module, imported in remaining.items() if not imported & set(remaining)}:
        for module in free:
            del remaining[module]
    assert remaining == {}
