"""The revisions, in the order of ``schema.REVISIONS``. What has been released is never changed, only followed."""
