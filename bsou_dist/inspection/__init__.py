"""A packed shard folder, looked over: for faults, for its contents, and for what it gives away.

| file | question |
|---|---|
| `verify` | Is every clip still what was packed? |
| `verify_sources` | Would each file that was packed still be packed today? |
| `describe` | How many clips, patients and labels does a folder hold? |
| `contact_sheet` | What do its clips look like? |
| `privacy_words` | What do shards say in words, and what of it should not be there? |
| `privacy_sheet` | Which clips should a human look at for print that is left? |
| `still_print` | What in a clip never moves, lies apart from the tissue, or is unlike the rest? |
| `apart` | Which bright things lie in the dark, apart from the tissue? |
"""
