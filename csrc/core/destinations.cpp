#include "core/destinations.h"

#include <utility>

namespace weft {

namespace {

// A pointer, so that a thread that never asks pays one test.
thread_local std::vector<Array>* destinations = nullptr;

}  // namespace

void set_destinations(std::vector<Array> places) {
  delete destinations;
  destinations = places.empty() ? nullptr : new std::vector<Array>(std::move(places));
}

Array take_destination(const Dims& shape, DType dtype, Device device) {
  if (!destinations) return {};
  for (Array& place : *destinations)
    if (place.defined() && place.dtype() == dtype && place.shape() == shape && place.device() == device)
      return std::exchange(place, Array());
  return {};
}

}  // namespace weft
