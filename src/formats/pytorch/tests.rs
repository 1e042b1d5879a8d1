//! Pickles made by hand in archives made by hand.
