// What a completion queue of gRPC returns.
//
// The callback interface of gRPC 1.51 passes each call between the threads that poll for it: five futex calls a request. A queue that one
// thread polls needs none.
#pragma once

namespace loopwright::serving::rpc {

class Event {
 public:
  virtual ~Event() = default;
  // Called by a thread of the queue. `ok`: what was begun has succeeded.
  virtual void happen(bool ok) = 0;
};

// Calls a method of its owner.
template <class Owner>
class EventOf : public Event {
 public:
  using Method = void (Owner::*)(bool ok);
  EventOf(Owner& owner, Method method) : owner_(owner), method_(method) {}
  void happen(bool ok) override { (owner_.*method_)(ok); }

 private:
  Owner& owner_;
  const Method method_;
};

}  // namespace loopwright::serving::rpc
