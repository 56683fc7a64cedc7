"""A life-cycle node that starts by itself, owns inference threads, and says why when it fails."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from storm_core.errors import SetupError, StormError
from storm_ros.bond import Bond, form_bond
from storm_ros.garbage import settle
from storm_ros.parameters import declare, given_parameters
from storm_ros.threads import use_threads
from storm_ros.worker import Worker

T = TypeVar("T")

AUTOSTART, BOND = "autostart", "bond"
CLOCK = "/clock"

LIFECYCLE_PARAMETERS = frozenset({AUTOSTART, BOND})
"""Parameters of the life cycle itself, which are no part of the configuration."""


class ManagedNode(LifecycleNode):
    """Subclasses fill in `configure`, `begin`, `end` and `release`.

    What takes memory exists from configuration (or the next activation) to deactivation only.

    Attributes:
      active: between activation and deactivation.
      failure: why the node could not start or go on; None while it can.
    """

    def __init__(self, name: str, **kwargs: Any) -> None:
        self.active = False
        self._lives, self._outdated = 0, False
        super().__init__(name, **kwargs)
        self.failure: str | None = None
        self._workers: list[Worker[Any]] = []
        self._ready = False
        self._bond: Bond | None = None
        given = given_parameters(self)
        declare(self, AUTOSTART, given.get(AUTOSTART, True), "configure and activate without being asked")
        declare(self, BOND, given.get(BOND, True),
                "form a bond with nav2's lifecycle manager when active; needs bondpy, is left out without it")

    def configure(self) -> None:
        """Everything that takes long: load models, compile, warm up."""

    def release(self) -> None:
        """Let go of what `configure` has loaded."""

    def begin(self) -> None:
        """Advertise, start workers, subscribe."""

    def end(self) -> None:
        """Undo `begin`; workers have ended already."""

    def start_up(self) -> None:
        """Configure and activate if the parameter `autostart` says so. Raises StormError when that fails."""
        if not self.get_parameter(AUTOSTART).value:
            self._say_next("configure")
            return
        for step in (self.trigger_configure, self.trigger_activate):
            if step() is not TransitionCallbackReturn.SUCCESS:
                raise SetupError(self.failure or f"{self.get_name()} did not start")

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        with self._told("configure"):
            self._make_ready()
            if not self.get_parameter(AUTOSTART).value:
                self._say_next("activate")
            return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        with self._told("activate"):
            self._make_ready()
            self.active = True
            self._lives += 1
            self.begin()
            if self.get_parameter(BOND).value:
                self._bond = form_bond(self)
            settle()
            return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._let_go()
        self._say_next("activate")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._let_go()
        self._say_next("configure")
        return super().on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """A transition has failed half way: undo what it has done, so that the next attempt begins afresh."""
        self._let_go()
        return super().on_error(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._let_go()
        return super().on_shutdown(state)

    def _make_ready(self) -> None:
        """Load everything unless it is there: also after a deactivation, which has let it go."""
        if self._ready and self._outdated:
            self._ready = False
            self.release()
        if not self._ready:
            self.get_logger().info("preparing (the first start after an installation compiles kernels: minutes)")
            self.configure()
            self._ready, self._outdated = True, False

    def outdate(self) -> None:
        """What `configure` has made is not what is wanted any more: the next activation makes it anew."""
        self._outdated = True

    def _let_go(self) -> None:
        self.quiesce()
        if self._ready:
            self._ready = False
            self.release()

    def _say_next(self, transition: str) -> None:
        """Nothing is published now; say what would change that, before somebody takes the node for broken."""
        self.get_logger().info(f"not active; next: ros2 lifecycle set {self.get_fully_qualified_name()} {transition}")

    def destroy_node(self) -> None:
        """rclpy leaves the state machine, which keeps the services of the life cycle and with them the whole
        participant: others would go on to see them, and ask in vain."""
        super().destroy_node()
        self._state_machine.destroy_when_not_in_use()

    def quiesce(self) -> None:
        """Stop everything that runs; safe to call twice."""
        if not self.active:
            return
        self.active = False
        if self._bond is not None:
            self._bond.shutdown()
            self._bond = None
        for worker in self._workers:
            if not worker.stop():
                self.get_logger().warning("a stage is still busy; not waiting for it")
        self._workers.clear()
        self.end()

    def create_subscription(self, msg_type: Any, topic: str, callback: Callable[[Any], Any], *args: Any,
                            **kwargs: Any) -> Any:
        """What an active node subscribes to is not heard any more once it is inactive."""
        guarded = self._for_this_life(callback)

        def heard(message: Any) -> None:
            guarded(message)

        # The clock is rclpy's and goes on; it is subscribed to when `use_sim_time` is set.
        ours = self.active and topic != CLOCK
        return super().create_subscription(msg_type, topic, heard if ours else callback, *args, **kwargs)

    def create_service(self, srv_type: Any, srv_name: str, callback: Callable[[Any, Any], Any], *args: Any,
                       **kwargs: Any) -> Any:
        """As with subscriptions: what is asked of an earlier life is not done, and its answer goes nowhere."""
        alive = self.this_life()

        def called(request: Any, response: Any) -> Any:
            return callback(request, response) if alive() else response

        return super().create_service(srv_type, srv_name, called if self.active else callback, *args, **kwargs)

    def create_timer(self, period: float, callback: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        """As with subscriptions."""
        guarded = self._for_this_life(callback)

        # rclpy looks at the signature: what takes arguments would be given some.
        def ticked() -> None:
            guarded()

        return super().create_timer(period, ticked if self.active else callback, *args, **kwargs)

    def _for_this_life(self, callback: Callable[..., Any]) -> Callable[..., None]:
        """The callback, until the next deactivation.

        The executor may still hold an event of a subscription or timer that has been destroyed, even when the node is
        active again.
        """
        alive = self.this_life()

        def called(*args: Any) -> None:
            if alive():
                self.while_active(callback, *args)

        return called

    def this_life(self) -> Callable[[], bool]:
        """Whether the node is still in the active time in which this is called; for what works beside the executor."""
        life = self._lives
        return lambda: self.active and life == self._lives

    def while_active(self, callback: Callable[..., Any], *args: Any) -> None:
        """Call it unless the node is not active; whoever sends what cannot be used must not end the graph."""
        if not self.active:
            return
        try:
            callback(*args)
        except StormError as error:
            self.report(error)

    def start_worker(self, name: str, handle: Callable[[T], None], threads: int = 1, backlog: int = 1) -> Worker[T]:
        """An inference thread that ends with the node's active time; call it from `begin`.

        Args:
          name: what it does.
          handle: called with each item.
          threads: cores its kernels may use; 0 = all.
          backlog: items that may wait after a hiccup; see Worker.
        """
        worker = Worker(f"{self.get_name()}-{name}", handle, self.report, self.fail, lambda: use_threads(threads),
                        backlog)
        self._workers.append(worker)
        worker.start()
        return worker

    def report(self, error: StormError) -> None:
        """One frame or message could not be used; the node goes on."""
        self.get_logger().warning(str(error), throttle_duration_sec=5.0)

    def fail(self, error: BaseException) -> None:
        """Something is wrong that no frame can cause: end the process, so that whoever watches it starts a new one."""
        # A stage that was still busy when the process was told to stop can no longer publish; that is no failure.
        if not self.active or not self.context.ok():
            return
        self.failure = f"{self.get_name()} stops: {type(error).__name__}: {error}"
        self.get_logger().fatal("".join(traceback.format_exception(error)).rstrip())
        self.context.try_shutdown()

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Keeps what goes wrong in a transition: rclpy itself swallows exceptions there."""
        try:
            yield
        except StormError as error:
            self.failure = str(error)
            self.get_logger().error(f"cannot {what}: {error}")
            raise
        except KeyboardInterrupt:
            # Told to stop while starting up: a wanted end, not a failure.
            raise
        except BaseException as error:
            self.get_logger().fatal(traceback.format_exc().rstrip())
            self.failure = f"{self.get_name()} cannot {what}: {type(error).__name__}: {error}"
            raise
