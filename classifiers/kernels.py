"""How the kernels of the residence model are compiled, where plain `numba.njit` is not enough.

`error_model="numpy"`: no division is checked, since none can be by zero. `inline="always"`: at every call of another
kernel Numba counts a reference for each array in its arguments, some fifty; what is called for each history and episode
is therefore compiled into its caller.
"""

ANY_ORDER = {"reassoc", "nsz"}
"""`fastmath` of kernels that add over all countries: sums may be taken several countries at a time.

In which order depends on the processor's registers, never on the data or on who else is scored. It moves a weight by
some 1e-11 bits; scores are whole millibits. Nothing else of IEEE arithmetic is given up. See
docs/decisions/0230-sums-in-any-order.md.
"""
