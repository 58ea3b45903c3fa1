// A process group, for the backends of dist.hh (Gloo) and cuda_nccl.hh (NCCL).
#pragma once
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include "internal.h"

namespace thaw {

struct Store {
  c10::intrusive_ptr<c10d::Store> store;
};

// Of one device type. Operators of the dispatcher, which the Reducer calls, find the backend by way of the process group.
struct Group {
  c10::intrusive_ptr<c10d::Backend> backend;
  c10::intrusive_ptr<c10d::ProcessGroup> group;
};

inline Store *store_of(thaw_store s) { return reinterpret_cast<Store *>(s); }
inline Group *group_of(thaw_group g) { return reinterpret_cast<Group *>(g); }

inline thaw_group new_group(const c10::intrusive_ptr<c10d::Store> &store, int rank, int size, c10::DeviceType device,
                            c10d::ProcessGroup::BackendType type, const c10::intrusive_ptr<c10d::Backend> &backend) {
  auto group = c10::make_intrusive<c10d::ProcessGroup>(store, rank, size);
  group->setBackend(device, type, backend);
  group->setDefaultBackend(type);
  return reinterpret_cast<thaw_group>(new Group{backend, group});
}

} // namespace thaw
