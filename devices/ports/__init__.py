"""Ports: how bytes and images get here. A port is a URL.

| URL | what it is | module |
|---|---|---|
| `serial:///dev/serial/by-id/…?baud=9600` | a serial line, USB-CDC, Bluetooth, pseudo-terminal | serial_line |
| `tcp://host:port` | a device that listens, or a terminal server | tcp |
| `evdev:///dev/input/by-id/…-event-kbd` | a scanner that plays keyboard, grabbed | evdev |
| `hidraw:///dev/hidraw0` | reports of a HID device | hidraw |
| `file:///path` | recorded bytes; an image, a film, or a directory of images | recording, images, film |
| `camera://0`, `camera:///dev/v4l/by-id/…` | a camera, or a pipe that pictures are written into | capture |
| `rtsp://host/path`, `mjpeg://host/path` | a network camera | capture |

The libraries a port needs are imported when one is opened, by its own module and no other.
"""
