"""Tables and figures over many run folders."""
