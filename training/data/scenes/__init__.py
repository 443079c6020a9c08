"""Drawn street scenes.

``street`` puts a scene together and renders it; ``layout`` says what stands where; ``ground``, ``sky``,
``buildings``, ``trees``, ``roadside``, ``people`` and ``vehicles`` each know how one kind of thing looks.
They draw in metres through a ``view``: a ``camera`` on a winding road, a ``light``, and a ``canvas`` that
fills picture and mask together.
"""
