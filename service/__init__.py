"""What both programs need to be programs: configuration, logging, metrics, process life, the page kit."""
