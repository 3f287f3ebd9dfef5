"""Mathematics: states that add, estimates of them, and tests. Floor 2: NumPy, SciPy and the standard library only.

States: `moments`, `buckets`, `counts`, `histogram`. Results: `estimate`. One look: `fixed`, `binomial`, `sample_ratio`.
Every look: `anytime`, `dirichlet`, `beta_binomial`.
"""
