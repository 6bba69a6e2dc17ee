"""Does this node serve? Real connections, by everybody who might make them, that harm nobody (`socklb check`)."""
