//! The walls; the rooms come with the commits that follow.
