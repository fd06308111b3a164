// Objects that others use through shared pointers, and that end on the thread of their owner, never on that of the last user.
#pragma once

#include <future>
#include <memory>
#include <utility>

namespace loopwright::serving {

// What the last shared pointer calls: it gives the object back.
template <class T>
struct GiveBack {
  std::shared_ptr<std::promise<std::unique_ptr<T>>> given = std::make_shared<std::promise<std::unique_ptr<T>>>();
  void operator()(T* object) const { given->set_value(std::unique_ptr<T>(object)); }
};

// Returns the owner's pointer, which others copy. Without take_back(), the last one ends the object.
template <class T>
std::shared_ptr<T> lend(std::unique_ptr<T> object) {
  return std::shared_ptr<T>(object.release(), GiveBack<T>());
}

// Takes the owner's pointer, which came from lend(), and waits until nobody has another one.
template <class T>
std::unique_ptr<T> take_back(std::shared_ptr<T> lent) {
  auto returned = std::get_deleter<GiveBack<T>>(lent)->given->get_future();
  lent.reset();
  return returned.get();
}

}  // namespace loopwright::serving
