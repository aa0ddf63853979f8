"""The paper: its tables and claims as data, the evidence, figures and pages, and what notebooks
share."""
