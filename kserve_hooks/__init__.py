"""The actuator: keeps KServe's services below the ceilings that recommendations give, and puts back what it changed."""
