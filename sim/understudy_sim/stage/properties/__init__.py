"""The claims about the product, one per file, checked all the time.  PROPERTIES is the list; numbers are those of
`docs/invariants.md`.
"""

from __future__ import annotations

from typing import Final

from understudy_sim.stage.properties.accepted_ends import AcceptedEnds
from understudy_sim.stage.properties.afterlife import Afterlife
from understudy_sim.stage.properties.answer_stability import AnswerStability
from understudy_sim.stage.properties.causes import Causes
from understudy_sim.stage.properties.durable_answers import DurableAnswers
from understudy_sim.stage.properties.exactly_once import ExactlyOnce
from understudy_sim.stage.properties.fold import Fold
from understudy_sim.stage.properties.hazards import Hazards
from understudy_sim.stage.properties.leaks import Leaks
from understudy_sim.stage.properties.linearizable import Linearizable
from understudy_sim.stage.properties.order import Order
from understudy_sim.stage.properties.outstanding import Outstanding
from understudy_sim.stage.properties.progress import Progress
from understudy_sim.stage.properties.promptness import Promptness
from understudy_sim.stage.properties.refusals import Refusals
from understudy_sim.stage.properties.registrations import Registrations
from understudy_sim.stage.properties.replay_closure import ReplayClosure
from understudy_sim.stage.properties.retries import Retries
from understudy_sim.stage.properties.single_holder import SingleHolder
from understudy_sim.stage.properties.terms import DeclaredTerms
from understudy_sim.stage.properties.timers import Timers
from understudy_sim.stage.properties.waits_in_vain import WaitsInVain
from understudy_sim.stage.watch import Property

PROPERTIES: Final[tuple[type[Property], ...]] = (
    SingleHolder,
    Order,
    ExactlyOnce,
    AnswerStability,
    AcceptedEnds,
    Fold,
    Outstanding,
    Timers,
    Leaks,
    Linearizable,
    DurableAnswers,
    Hazards,
    Registrations,
    ReplayClosure,
    WaitsInVain,
    Progress,
    Promptness,
    Refusals,
    Causes,
    Afterlife,
    Retries,
    DeclaredTerms,
)
