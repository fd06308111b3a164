#include "loopwright/simulation.h"

#include <pybind11/stl.h>

#include <optional>
#include <utility>
#include <vector>

#include "module.h"

namespace loopwright {

namespace py = pybind11;

// A context manager. It must be entered and left on the same thread.
class Simulation {
 public:
  explicit Simulation(int only) : only_(only) {}
  void enter() { shares_.emplace(only_); }
  std::vector<std::pair<int, std::vector<double>>> leave() {
    std::vector<std::pair<int, std::vector<double>>> found;
    for (const SimulatedRegion& region : shares_->regions()) found.emplace_back(region.threads, region.share_secs);
    shares_.reset();
    return found;
  }

 private:
  const int only_;
  std::optional<SimulatedShares> shares_;
};

void bind_simulation(py::module_& m) {
  py::class_<Simulation>(m, "Simulation")
      .def(py::init<int>(), py::arg("only"))
      .def("enter", &Simulation::enter)
      .def("leave", &Simulation::leave);
}

}  // namespace loopwright
