# Frames and series that a library derives from pandas' own, changed in place on either side.

# %%
import pandas as pd
from nearby_frames import Measured, Survey

sites = ["north"]
survey = Survey({"value": [1.0, 2.0]}, origin="ship", sites=sites)
object.__setattr__(survey, "log", sites)
alias, held = survey, {"s": survey}
len(survey), survey.origin

# %%
survey.loc[0, "value"] = 99.0
survey["double"] = survey.value * 2
survey.add(5.0)
type(survey).__name__, survey.origin, survey._sites is sites, survey.log is sites

# %%
survey["triple"] = survey.value * 3
alias is survey, list(alias), alias.value.tolist(), held["s"] is survey

# %%
survey.origin = "plane"
sites.append("south")
survey._sites, survey.log

# %%
survey.index = list(range(len(survey), 0, -1))
survey.pop("double")
alias.index.tolist(), alias.origin, alias._sites is sites

# %%
other = survey[["value"]]
other.sites = {"own": 1}
one = survey["value"]
one.unit = "m"
type(other).__name__, type(one).__name__, type(survey[["triple"]]).__name__

# %%
one.iloc[0] = -1.0
one.unit, one.name, one.tolist()[0], survey.value.tolist()[0]

# %%
one.name = "renamed"
one.name, one.unit, other._sites, isinstance(one, Measured)


# %%
class Mine(Survey):
    """One of the notebook's own."""

    factor = 2

    def scaled(self):
        return (self.value * self.factor).tolist()


mine = Mine({"value": [1.0]}, origin="me")
several = [mine, mine]
mine.scaled()

# %%
mine["extra"] = 1
mine.loc[0, "value"] = 4.0
mine.note = mine.origin
mine.scaled(), type(mine) is Mine

# %%
Mine.factor = 10
several[0] is mine, several[1].scaled(), mine.note, mine.extra.tolist()

# %%
plain = pd.DataFrame({"a": [1]})
plain.attrs["k"] = [1]
borrowed = plain.copy(deep=False)

# %%
plain.loc[0, "a"] = 7
plain.attrs["k"].append(2)
plain.a.tolist(), borrowed.a.tolist()

# %%
repr(plain.attrs), borrowed.a.tolist()
