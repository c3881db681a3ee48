"""On which offer: prices, what fits, in which order to try. Pure: nothing here touches the network or a clock."""
