//! consort-stories.
