//! When there is no OpenGL, the picture is drawn here and handed to the window system as bytes.
//!
//! [`run`] is a complete window: winit for the events, egui-winit to translate them, [`Raster`] to
//! draw and softbuffer to show. It sleeps until there is input, until egui asks for a frame, or
//! until another thread calls `request_repaint`. Closing it works as under eframe: the interface
//! sees `close_requested()` in one last pass, where it may save its state or answer with
//! `ViewportCommand::CancelClose`; otherwise [`run`] returns.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use egui::{FullOutput, ViewportCommand, ViewportEvent, ViewportId, ViewportInfo};
use egui_winit::ActionRequested;
use softbuffer::SoftBufferError;
use winit::application::ApplicationHandler;
use winit::dpi::LogicalSize;
use winit::event::WindowEvent;
use winit::event_loop::{ActiveEventLoop, ControlFlow, EventLoop, OwnedDisplayHandle};
use winit::window::{Window, WindowId};

use super::raster::{Canvas, Raster};
use super::start::{self, Obstacle, Problem};

/// Longest side of a texture the interface may ask for, in texels; memory is the only limit here.
const MAX_TEXTURE_SIDE: usize = 16_384;

/// Why the software window could not open or had to close.
#[derive(Debug, thiserror::Error)]
pub enum SoftError {
    /// Nothing answers at the display that the environment names, or it names none.
    #[error("{0}")]
    NoDisplay(String),
    /// A shared library of the window system is not installed.
    #[error("{0}")]
    MissingLibrary(String),
    /// The event loop failed in another way.
    #[error("{0}")]
    EventLoop(String),
    /// The display refused the window.
    #[error("The window could not be opened: {0}.")]
    Window(#[from] winit::error::OsError),
    /// The window does not take pixels.
    #[error("The window cannot show pixels drawn in software: {0}.")]
    Surface(String),
}

impl From<SoftBufferError> for SoftError {
    fn from(error: SoftBufferError) -> Self {
        // The original holds raw pointers and could not travel between threads.
        Self::Surface(error.to_string())
    }
}

impl From<winit::error::EventLoopError> for SoftError {
    fn from(error: winit::error::EventLoopError) -> Self {
        let Problem { obstacle, sentence } = start::explain_event_loop(&error);
        match obstacle {
            Obstacle::Display => Self::NoDisplay(sentence),
            Obstacle::Library => Self::MissingLibrary(sentence),
            Obstacle::OpenGl | Obstacle::Other => Self::EventLoop(sentence),
        }
    }
}

impl From<SoftError> for Problem {
    fn from(error: SoftError) -> Self {
        let obstacle = match &error {
            SoftError::NoDisplay(_) => Obstacle::Display,
            SoftError::MissingLibrary(_) => Obstacle::Library,
            SoftError::EventLoop(_) | SoftError::Window(_) | SoftError::Surface(_) => Obstacle::Other,
        };
        Self { obstacle, sentence: error.to_string() }
    }
}

/// Opens a window, draws it in software and returns when it is closed.
///
/// `size` is the inner size in points at first. `make_ui` gets the context before the first pass,
/// to set fonts and style, and returns the function that is called for every pass.
/// A process can do this once, and not after eframe has run.
///
/// # Errors
/// When there is no display, a library is missing, or the window cannot be opened or drawn to.
pub fn run(
    title: &str,
    size: [f32; 2],
    make_ui: impl FnOnce(&egui::Context) -> Box<dyn FnMut(&mut egui::Ui)>,
) -> Result<(), SoftError> {
    let event_loop = EventLoop::<Wake>::with_user_event().build()?;
    let ctx = egui::Context::default();
    // There is one window: what would be a second one is drawn inside it.
    ctx.set_embed_viewports(true);
    // The proxy may be used from every thread, but one at a time.
    let proxy = Mutex::new(event_loop.create_proxy());
    ctx.set_request_repaint_callback(move |request| {
        let wake = Wake { at: Instant::now().checked_add(request.delay), pass: request.current_cumulative_pass_nr };
        if let Ok(proxy) = proxy.lock() {
            // Fails only when the loop has ended, and then there is nothing left to draw.
            proxy.send_event(wake).ok();
        }
    });
    let mut app = SoftApp {
        ui: make_ui(&ctx),
        ctx,
        title: title.to_owned(),
        size,
        screen: None,
        next_frame: None,
        result: Ok(()),
    };
    event_loop.run_app(&mut app)?;
    app.result
}

/// A request to draw.
#[derive(Debug)]
struct Wake {
    /// `None` lies too far in the future to be counted.
    at: Option<Instant>,
    /// How many passes egui had completed when it asked.
    pass: u64,
}

struct SoftApp {
    ctx: egui::Context,
    ui: Box<dyn FnMut(&mut egui::Ui)>,
    title: String,
    /// Inner size of the new window in points.
    size: [f32; 2],
    /// The window, once the event loop has started.
    screen: Option<Screen>,
    next_frame: Option<Instant>,
    result: Result<(), SoftError>,
}

impl ApplicationHandler<Wake> for SoftApp {
    fn resumed(&mut self, event_loop: &ActiveEventLoop) {
        if self.screen.is_some() {
            return;
        }
        match Screen::open(event_loop, &self.ctx, &self.title, self.size) {
            Ok(screen) => {
                screen.window.request_redraw();
                self.screen = Some(screen);
            }
            Err(error) => self.stop(event_loop, Err(error)),
        }
    }

    fn user_event(&mut self, _event_loop: &ActiveEventLoop, wake: Wake) {
        // A request older than the latest pass has been answered by it.
        let done = self.ctx.cumulative_pass_nr_for(ViewportId::ROOT);
        if let Some(at) = wake.at
            && done <= wake.pass + 1
        {
            self.next_frame = Some(self.next_frame.map_or(at, |next| next.min(at)));
        }
    }

    fn window_event(&mut self, event_loop: &ActiveEventLoop, _id: WindowId, event: WindowEvent) {
        let Some(screen) = &mut self.screen else { return };
        match event {
            WindowEvent::RedrawRequested => {
                let end = screen.frame(event_loop, &self.ctx, &mut self.ui);
                match end {
                    Ok(false) => {}
                    Ok(true) => self.stop(event_loop, Ok(())),
                    Err(error) => self.stop(event_loop, Err(error)),
                }
            }
            WindowEvent::CloseRequested => {
                screen.info.events.push(ViewportEvent::Close);
                screen.window.request_redraw();
            }
            WindowEvent::Occluded(occluded) => {
                screen.info.occluded = Some(occluded);
                screen.window.request_redraw();
            }
            event => {
                let resized = matches!(event, WindowEvent::Resized(_));
                if screen.state.on_window_event(&screen.window, &event).repaint || resized {
                    screen.window.request_redraw();
                }
            }
        }
    }

    fn about_to_wait(&mut self, event_loop: &ActiveEventLoop) {
        if let Some(screen) = &self.screen
            && self.next_frame.is_some_and(|at| at <= Instant::now())
        {
            self.next_frame = None;
            screen.window.request_redraw();
        }
        event_loop.set_control_flow(match self.next_frame {
            Some(at) => ControlFlow::WaitUntil(at),
            None => ControlFlow::Wait,
        });
    }
}

impl SoftApp {
    fn stop(&mut self, event_loop: &ActiveEventLoop, result: Result<(), SoftError>) {
        self.result = result;
        // The window must go before the connection to the display does.
        self.screen = None;
        event_loop.exit();
    }
}

/// The open window and all that belongs to it.
struct Screen {
    // Dropped first: it draws into the window.
    surface: softbuffer::Surface<OwnedDisplayHandle, Arc<Window>>,
    state: egui_winit::State,
    window: Arc<Window>,
    info: ViewportInfo,
    raster: Raster,
    canvas: Canvas,
}

impl Screen {
    fn open(
        event_loop: &ActiveEventLoop,
        ctx: &egui::Context,
        title: &str,
        [width, height]: [f32; 2],
    ) -> Result<Self, SoftError> {
        let attributes =
            Window::default_attributes().with_title(title).with_inner_size(LogicalSize::new(width, height));
        let window = Arc::new(event_loop.create_window(attributes)?);
        let display = softbuffer::Context::new(event_loop.owned_display_handle())?;
        let surface = softbuffer::Surface::new(&display, window.clone())?;
        let state = egui_winit::State::new(
            ctx.clone(),
            ViewportId::ROOT,
            event_loop,
            Some(window.scale_factor() as f32),
            window.theme(),
            Some(MAX_TEXTURE_SIDE),
        );
        let mut info = ViewportInfo::default();
        egui_winit::update_viewport_info(&mut info, ctx, &window, true);
        Ok(Self { surface, state, window, info, raster: Raster::new(), canvas: Canvas::new(0, 0) })
    }

    /// Runs one pass and shows it. Returns whether the window is to be closed.
    fn frame(
        &mut self,
        event_loop: &ActiveEventLoop,
        ctx: &egui::Context,
        ui: &mut dyn FnMut(&mut egui::Ui),
    ) -> Result<bool, SoftError> {
        egui_winit::update_viewport_info(&mut self.info, ctx, &self.window, false);
        let mut input = self.state.take_egui_input(&self.window);
        input.viewports.insert(ViewportId::ROOT, self.info.clone());
        let closing = self.info.close_requested();
        self.info.events.clear();

        let mut output = ctx.run_ui(input, ui);
        let platform = std::mem::take(&mut output.platform_output);
        self.state.handle_platform_output_with_event_loop(&self.window, event_loop, platform);
        let root = output.viewport_output.remove(&ViewportId::ROOT);
        let commands = root.map(|root| root.commands).unwrap_or_default();
        if closing && !commands.contains(&ViewportCommand::CancelClose) {
            output.drop_without_applying_deltas();
            return Ok(true);
        }
        self.show(ctx, output)?;
        self.obey(ctx, commands);
        Ok(false)
    }

    /// Draws a pass into the window.
    fn show(&mut self, ctx: &egui::Context, mut output: FullOutput) -> Result<(), SoftError> {
        self.raster.update_textures(&mut output.textures_delta);
        let size = self.window.inner_size();
        let (Some(width), Some(height)) = (NonZeroU32::new(size.width), NonZeroU32::new(size.height)) else {
            return Ok(()); // Minimised.
        };
        self.canvas.resize(size.width as usize, size.height as usize);
        self.canvas.clear(ctx.global_style().visuals.panel_fill.to_opaque());
        let scale = output.pixels_per_point;
        let primitives = ctx.tessellate(output.shapes, scale);
        self.raster.paint(&mut self.canvas, &primitives, scale);

        self.surface.resize(width, height)?;
        let mut buffer = self.surface.buffer_mut()?;
        for (shown, [red, green, blue, _]) in buffer.iter_mut().zip(&self.canvas.pixels) {
            *shown = u32::from_be_bytes([0, *red, *green, *blue]);
        }
        self.window.pre_present_notify();
        buffer.present()?;
        Ok(())
    }

    /// Carries out what the interface asks of its window: title, size, close and the like.
    fn obey(&mut self, ctx: &egui::Context, commands: Vec<ViewportCommand>) {
        if commands.is_empty() {
            return;
        }
        let mut actions = Vec::new();
        let (info, window) = (&mut self.info, &self.window);
        egui_winit::process_viewport_commands(ctx, info, commands, window, &mut actions);
        let mut again = info.close_requested();
        for action in actions {
            let event = match action {
                ActionRequested::Cut => egui::Event::Cut,
                ActionRequested::Copy => egui::Event::Copy,
                ActionRequested::Paste => match self.state.clipboard_text() {
                    Some(text) if !text.is_empty() => egui::Event::Paste(text),
                    _ => continue,
                },
                // Pictures of the interface are made without a window here.
                ActionRequested::Screenshot(_) | ActionRequested::PaintWhileHidden => continue,
            };
            self.state.egui_input_mut().events.push(event);
            again = true;
        }
        if again {
            window.request_redraw();
        }
    }
}
