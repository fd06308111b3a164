#include "loopwright/topology.h"

#include <pybind11/stl.h>

#include "module.h"

namespace loopwright {

namespace py = pybind11;

void bind_topology(py::module_& m) {
  py::class_<Topology>(m, "Topology")
      .def_static("read", &Topology::read, py::arg("root"), py::arg("mask"))
      .def_property_readonly("cpus",
                             [](const Topology& t) {
                               py::list cpus;
                               for (const Cpu& cpu : t.cpus)
                                 cpus.append(py::make_tuple(cpu.id, cpu.core, cpu.node, cpu.efficiency));
                               return cpus;
                             })
      .def_readonly("quota", &Topology::quota)
      .def("most_threads", &Topology::most_threads)
      .def("default_threads", &Topology::default_threads)
      .def("order", &Topology::order)
      .def("cpus_for", &Topology::cpus_for, py::arg("threads"))
      .def("description", &Topology::description, py::arg("threads"));
  m.def("usable_cores", &usable_cores);
}

}  // namespace loopwright
