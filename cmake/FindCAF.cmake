# SPDX-License-Identifier: Apache-2.0
#
# Finds the C++ Actor Framework where the distribution ships neither a CMake
# config nor a pkg-config file.
#
#   find_package(CAF 0.17.6 REQUIRED COMPONENTS core io)
#
# Components: core, io, openssl. Each gives a target CAF::<component>.

include(FindPackageHandleStandardArgs)

find_path(CAF_INCLUDE_DIR NAMES caf/config.hpp)
mark_as_advanced(CAF_INCLUDE_DIR)

# CAF_VERSION is one number: two digits each for minor and patch.
if(CAF_INCLUDE_DIR)
  file(STRINGS "${CAF_INCLUDE_DIR}/caf/config.hpp" caf_version_line
       REGEX "^#define CAF_VERSION [0-9]+")
  if(caf_version_line MATCHES "([0-9]+)$")
    set(caf_number "${CMAKE_MATCH_1}")
    math(EXPR caf_major "${caf_number} / 10000")
    math(EXPR caf_minor "${caf_number} / 100 % 100")
    math(EXPR caf_patch "${caf_number} % 100")
    set(CAF_VERSION "${caf_major}.${caf_minor}.${caf_patch}")
  endif()
endif()

foreach(component IN ITEMS core io openssl)
  find_library(CAF_${component}_LIBRARY NAMES caf_${component})
  mark_as_advanced(CAF_${component}_LIBRARY)
  if(CAF_INCLUDE_DIR AND CAF_${component}_LIBRARY)
    set(CAF_${component}_FOUND TRUE)
  endif()
endforeach()

find_package_handle_standard_args(CAF
  REQUIRED_VARS CAF_INCLUDE_DIR CAF_core_LIBRARY
  VERSION_VAR CAF_VERSION
  HANDLE_COMPONENTS)

function(muster_add_caf_target component)
  if(NOT CAF_${component}_FOUND OR TARGET CAF::${component})
    return()
  endif()
  add_library(CAF::${component} UNKNOWN IMPORTED)
  set_target_properties(CAF::${component} PROPERTIES
    IMPORTED_LOCATION "${CAF_${component}_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${CAF_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES "${ARGN}")
endfunction()

if(CAF_FOUND)
  find_package(Threads REQUIRED)
  muster_add_caf_target(core Threads::Threads)
  muster_add_caf_target(io CAF::core)
  if(CAF_openssl_FOUND)
    find_package(OpenSSL REQUIRED)
    muster_add_caf_target(openssl CAF::io OpenSSL::SSL OpenSSL::Crypto)
  endif()
endif()
